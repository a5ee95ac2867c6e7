// Somebody signs in where their company knows them, and comes back as who they are there.
import { browse, check, env, hub, open, photograph, step } from './browser.mjs'

await browse(async (browser) => {
  const page = await open(browser)
  page.expected.push(/401/)

  await step('the door names the provider', async () => {
    await page.goto(hub + '/console/packages?q=shop')
    await page.getByRole('link', { name: 'Sign in with ' + new URL(env('ISSUER')).host }).waitFor()
    await photograph(page, 'signin')
  })

  await step('she signs in there, and comes back to where she wanted to', async () => {
    await page.getByRole('link', { name: /^Sign in with / }).click()
    await page.waitForURL((url) => url.href.startsWith(env('ISSUER')))
    await page.locator('input[name=login]').fill(env('EMAIL'))
    await page.locator('input[name=password]').fill(env('PASSWORD'))
    await page.locator('#submit-login').click()
    const grant = page.getByRole('button', { name: /Grant/ })
    await grant.or(page.getByRole('heading', { level: 1, name: 'Packages' })).first().waitFor()
    if (await grant.isVisible()) await grant.click()
    await page.getByRole('heading', { level: 1, name: 'Packages' }).waitFor()
    check('at the page that she came for', page.url() === hub + '/console/packages?q=shop', page.url())
    await page.getByRole('button', { name: `Signed in as ${env('EMAIL')}` }).waitFor()
    const cookies = await page.context().cookies(hub)
    const session = cookies.find((c) => c.name === '__Host-umbel')
    check('her session is a cookie that scripts cannot read', session?.httpOnly && session.secure && session.sameSite === 'Strict', session)
    check('nothing of the visit is left', !cookies.some((c) => c.name === '__Host-umbel-visit'), cookies.map((c) => c.name))
  })

  await step('she is in the groups that the provider says', async () => {
    await page.goto(hub + '/console/access')
    const you = page.getByRole('region', { name: 'You', exact: true })
    await you.getByText(env('EMAIL')).waitFor()
    await you.getByText('oidc:developers').waitFor()
  })

  await step('an end of a sign-in that nobody began here is refused', async () => {
    const other = await open(browser)
    other.expected.push(/400/)
    const answer = await other.goto(hub + '/console/callback?state=x&code=y')
    check('it is refused', answer.status() === 400, answer.status())
    await other.getByText(/did not begin a sign-in here/).waitFor()
  })

  await step('she signs out', async () => {
    await page.getByRole('button', { name: /^Signed in as/ }).click()
    await page.getByRole('menuitem', { name: 'Sign out', exact: true }).click()
    await page.getByRole('button', { name: 'Sign in with the token' }).waitFor()
    check('the session is gone', !(await page.context().cookies(hub)).some((c) => c.name === '__Host-umbel'))
  })
})
