// Package render turns files into objects: what does a folder of a source say that a cluster is to hold?
//
// It is pure: it reads an fs.FS or JSON, and gives objects or an error. There is no network, no program and no plugin in it.
//
//  1. A Helm chart is rendered as by `helm template` (Chart); hooks.go says what becomes of hooks, hermetic.go what templates may not
//     call. A folder with a kustomization file is built with kustomize. Any other is walked: every .yaml, .yml and .json file
//     below it is taken, subfolders with a kustomization are built with it, hidden files and folders are left out.
//     Manifests that stand in a Package itself are taken one by one (Inline).
//  2. Lists are flattened. What only a server writes (status, uid, resourceVersion, managedFields and their like) is
//     dropped, so that the output of `kubectl get -o yaml` can be committed.
//  3. Every object is checked: apiVersion, kind and name, labels and annotations that are strings, no object twice.
//  4. What is for tools that read the source, and for no cluster, is left out (select.go). Objects are put into the
//     namespaces of their folders, or those that a NamespaceSelector names (hierarchy.go, select.go).
//  5. Variables in the values of fields are found, and the selectors of objects, which are variables too (package variable).
//     $${cluster.name} stands for the text itself, and ${ANYTHING_ELSE} is not touched, since scripts are full of it.
//  6. All that is done for each choice that the Package's variants make (variants.go). Family.For puts the values of one class of
//     clusters in, and leaves out what is not wanted there.
//
// Steps 1 and 2 run in a process of its own where there are Workers, and what came of all but the last is kept by all that was looked
// at (cache.go), on the disk (stored.go).
//
// Laws:
//   - Either everything or an error: no file, document or entry is skipped because it cannot be understood. (What
//     leaves out an object would delete it in the members.)
//   - No object at all is an error (ErrEmpty).
//   - Nothing that a source says can take more time or memory than a rendering may have, or hold up another one.
//   - What renders reaches nothing else, even if a library tried to: its process is confined by the system (confine.go).
//   - What is kept is used when it is what was written, by its digest. Otherwise it is rendered anew.
//   - The memory of a hub does not grow with the objects that were rendered.
//   - Errors name file, document, line, object and field, as far as each is known.
//   - The same files and values give the same objects. What is not in them cannot be reached: remote bases, charts that a
//     kustomization asks for, plugins and functions of templates that make something up are refused, with the file and the entry.
//
// Which values a cluster has, and what becomes of the objects, is up to package delivery. It runs in the hub.
package render
