// A large fleet in a browser: how long until something is seen (ms), and how much memory that takes (MB); a line of JSON for each page.
import { browse, hub, open, signIn } from './browser.mjs'

await browse(async (browser) => {
  const page = await open(browser)
  await signIn(page)
  const devtools = await page.context().newCDPSession(page)
  for (const [name, path, ready] of [
    ['Fleet', '', 'canvas'],
    ['Clusters', 'clusters', '.table-body .row'],
  ]) {
    await page.goto(hub + '/console/' + path)
    await page.locator(ready).first().waitFor()
    const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime)
    const whole = await page.evaluate(() => performance.now())
    if (name === 'Clusters') {
      for (let i = 1; i <= 20; i++) await page.locator('.table-body').evaluate((e, at) => (e.scrollTop = (e.scrollHeight * at) / 20), i).then(() => page.waitForTimeout(100))
    }
    await devtools.send('HeapProfiler.collectGarbage')
    const { usedSize } = await devtools.send('Runtime.getHeapUsage')
    console.log(JSON.stringify({ page: name, paint, whole, heap: usedSize / 1e6 }))
  }
  if (process.env.PHOTOS) {
    await page.goto(hub + '/console/?group=region')
    await page.locator('canvas').first().waitFor()
    await page.screenshot({ path: process.env.PHOTOS + '/large-1280-light.png' })
  }
})
