// What a pod serves through the hub has the hub's address. A browser that is known by a certificate shows it, and it can do nothing there.
import { browse, check, env, hub, open, signIn, step } from './browser.mjs'

await browse(async (browser) => {
  const page = await open(browser, { clientCertificates: [{ origin: hub, certPath: env('CERT'), keyPath: env('KEY') }] })

  await step('a session in the same browser', () => signIn(page), { vital: true })

  await step('a page that a pod serves is shown, and does nothing', async () => {
    page.expected.push(/sandboxed and the 'allow-scripts' permission is not set/)
    const answer = await page.goto(hub + '/clusters/prod-eu/api/v1/namespaces/proxy/pods/shell:8080/proxy/')
    check('a browser with a certificate is let through', answer.status() === 200, answer.status())
    await page.getByText('Served by a pod').waitFor()
    await page.waitForTimeout(500)
    check('its script did not run', (await page.title()) === 'of a pod', await page.title())
    check('it has no origin', (await page.evaluate(() => self.origin)) === 'null')
    const reads = await page.evaluate(() => {
      try {
        return document.cookie
      } catch (error) {
        return error.name
      }
    })
    check('it reads no cookie', reads === 'SecurityError', reads)
    // Were it to run a script, as older browsers might: what that asks of the console comes from nowhere, and is not answered.
    page.expected.push(/CORS policy/, /ERR_FAILED/, /Failed to load resource/)
    const asked = await page.evaluate(() => fetch('/console/api/me').then((a) => a.status, (error) => error.name))
    check('what it asks of the console it does not hear', asked === 'TypeError', asked)
    const changed = await page.evaluate(() => fetch('/console/api/signout', { method: 'POST', body: '{}', headers: { 'X-Umbel-Console': '1' } }).then((a) => a.status, (error) => error.name))
    check('nor does it change anything', changed === 'TypeError', changed)
  })

  await step('the session goes on', async () => {
    await page.goto(hub + '/console/')
    await page.getByRole('heading', { level: 1, name: 'Fleet' }).waitFor()
    const names = (await page.context().cookies()).map((c) => c.name)
    check('the cookie that the pod set does not replace it', names.includes('__Host-umbel'), names)
  })

  await step('what the pod serves is not shown by the console', async () => {
    page.expected.push(/403/)
    const answer = await page.request.get(hub + '/console/clusters/prod-eu/k8s/api/v1/namespaces/proxy/pods/shell:8080/proxy/')
    check('the way through the console is closed', answer.status() === 403, answer.status())
    const pod = await page.request.get(hub + '/console/clusters/prod-eu/k8s/api/v1/namespaces/proxy/pods/shell')
    check('what is said of the pod is told', pod.status() === 200 && pod.headers()['content-type'].startsWith('application/json'), pod.status())
  })
})
