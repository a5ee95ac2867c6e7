// Package kubetest answers: where does a test get a real Kubernetes API from, and has an API kept what it acknowledged?
//
// It starts one etcd and one kube-apiserver per test process, from the umbel-kube binary, on free loopback ports, in
// about four seconds and only when a test asks for it. Tests share them: each takes a Namespace of its own.
//
//	func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }
//
//	func TestSomething(t *testing.T) {
//		config := kubetest.Start(t)
//		kubetest.InstallCRDs(t, config)
//		...
//	}
//
// Writers write to any API while a test kills what serves it, and know afterwards what is lost.
//
// A missing binary fails the test, with the command that builds it: a test that is skipped proves nothing.
package kubetest
