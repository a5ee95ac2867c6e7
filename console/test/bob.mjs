// Somebody who may little, and has no pointer; and a hub that is away for a while.
import net from 'node:net'
import { browse, check, env, hub, open, photograph, signIn, step } from './browser.mjs'

/** The way to the hub, which can be cut: what goes through it is not looked at. */
function way() {
  const { hostname, port } = new URL(hub)
  const ends = new Set()
  const door = net.createServer((near) => {
    const far = net.connect(Number(port), hostname)
    for (const [one, other] of [[near, far], [far, near]]) {
      ends.add(one)
      one.on('error', () => {}).on('close', () => (ends.delete(one), other.destroy()))
      one.pipe(other)
    }
  })
  const listen = (at) => new Promise((done) => door.listen(at, '127.0.0.1', () => done(door.address().port)))
  return {
    listen,
    cut: () => new Promise((done) => {
      door.close(done)
      for (const end of ends) end.destroy()
    }),
  }
}

await browse(async (browser) => {
  const page = await open(browser)
  page.expected.push(/403/)
  const main = page.getByRole('main')
  const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim() ?? '')

  await step('a token signs in', () => signIn(page, env('BOB')), { vital: true })

  await step('what somebody may not see says so, and who could help', async () => {
    await page.goto(hub + '/console/packages')
    const refused = main.getByRole('alert').filter({ hasText: 'You may not see this' })
    await refused.getByText(/user "system:serviceaccount:default:bob" may not see this: that takes the verb "list" on packages/).waitFor()
    check('asking again would not help', (await refused.getByRole('button').count()) === 0)
    await photograph(page, 'refused')
    await page.goto(hub + '/console/clusters/prod-eu?tab=workloads&namespace=kube-system')
    await refused.getByText(/pods/).waitFor()
    await page.getByLabel('Namespace').fill('shop')
    await page.getByText('There are no pods in namespace shop.').waitFor()
  })

  await step('a deed that somebody may not do, by the keyboard alone: focus is seen, goes into the dialog, and comes back', async () => {
    await page.goto(hub + '/console/clusters/dev')
    await main.getByRole('button', { name: 'Suspend' }).waitFor()
    const passed = []
    while (passed.length < 60 && passed.at(-1) !== 'Suspend') {
      await page.keyboard.press('Tab')
      passed.push(await focused())
      const seen = await page.evaluate(() => {
        const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement)
        return outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2
      })
      check(`the focus on ${passed.at(-1)} is seen`, seen)
    }
    check('Tab comes to the button, by way of the link to the content and the pages', passed[0] === 'Skip to content' && passed.includes('Packages') && passed.at(-1) === 'Suspend', passed)
    await page.keyboard.press('Enter')
    const ask = page.getByRole('dialog')
    await ask.getByText(/^You may not do this: /).waitFor()
    check('it cannot be done', await ask.getByRole('button', { name: 'Suspend', exact: true }).isDisabled())
    check('the focus is in the dialog', await ask.evaluate((e) => e.contains(document.activeElement)))
    await photograph(page, 'not-allowed')
    await page.keyboard.press('Escape')
    await ask.waitFor({ state: 'detached' })
    check('the focus is back where it was', (await focused()) === 'Suspend', await focused())
  })

  await step('a hub that is away, and comes back', async () => {
    const to = way()
    const port = await to.listen(Number(env('WAY'))) // no connection takes it while it is cut
    const other = await open(browser)
    other.expected.push(/403/, /ERR_CONNECTION|ERR_EMPTY_RESPONSE|dynamically imported/)
    await signIn(other, env('BOB'), `https://127.0.0.1:${port}`)
    await other.getByRole('link', { name: 'Clusters', exact: true }).click()
    await other.getByText('3 in all').waitFor()
    await to.cut()
    await other.getByText('not live').waitFor()
    await other.getByLabel('Filter clusters').fill('env=prod')
    const away = other.getByRole('alert').filter({ hasText: 'The hub is not reached' })
    await away.getByText('The hub does not answer').waitFor()
    await photograph(other, 'away')
    await to.listen(port)
    await away.getByRole('button', { name: 'Try again' }).click()
    await other.getByText('2 of 3').waitFor()
    await other.getByText('not live').waitFor({ state: 'detached' })
    await to.cut()
    await other.getByText('not live').waitFor()
    await other.getByRole('link', { name: 'Settings' }).click() // a page that has not come yet
    await away.waitFor()
    await to.listen(port)
    await away.getByRole('button', { name: 'Try again' }).click()
    await other.getByRole('heading', { level: 1, name: 'Settings' }).waitFor()
    await to.cut()
  })
})
