// What the stories share: a browser, who is signed in, photographs, and what must never happen on any page.
import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { chromium } from 'playwright-core'

const require = createRequire(import.meta.url)
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')

/** What the test that began the story says. */
export const env = (name) => {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: test/console starts this`)
  return value
}
export const hub = env('HUB')
const photos = process.env.PHOTOS

let failures = 0

export function check(what, ok, seen = '') {
  if (ok) return
  failures++
  console.error(`FAIL ${what}${seen === '' ? '' : ': ' + (typeof seen === 'string' ? seen : JSON.stringify(seen))}`)
}

/** Tells a part of the story. After one that everything rests on nothing more is told. */
export async function step(name, tell, { vital = false } = {}) {
  const began = Date.now()
  try {
    await tell()
    console.log(`ok   ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`)
  } catch (error) {
    failures++
    console.error(`FAIL ${name}: ${error.stack ?? error}`)
    if (vital) throw new Error('nothing more can be told')
  }
}

export async function browse(tell) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
    timeout: 180_000,
  })
  try {
    await tell(browser)
  } finally {
    await browser.close()
  }
  if (failures > 0) {
    console.error(`${failures} failed`)
    process.exit(1)
  }
}

const letGo = /ERR_NETWORK_CHANGED|ERR_SOCKET_NOT_CONNECTED/

/** Loads a page, anew where Chromium let go of it, or of its files: then it stays empty. */
const loads = (page, load) => async (...where) => {
  for (let again = 3; ; again--) {
    try {
      const answer = await load(...where)
      const empty = (await page.locator('#root').count()) > 0 && !(await page.locator('#root > *').first().waitFor({ state: 'attached', timeout: 10_000 }).then(() => true, () => false))
      if (!empty || again === 0) return answer
    } catch (error) {
      if (again === 0 || !letGo.test(String(error))) throw error
    }
  }
}

/** Opens a window. What a page logs as an error, throws, or is kept from by its policy, is a failure, unless a story expects it. */
export async function open(browser, options = {}) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 860 }, ...options })
  await context.grantPermissions(['clipboard-read', 'clipboard-write'])
  await context.addInitScript(() => {
    window.jumps = []
    const from = (s) => (s.node?.nodeType === 1 ? s.node : s.node?.parentElement)
    new PerformanceObserver((seen) => {
      for (const e of seen.getEntries()) if (!e.hadRecentInput) window.jumps.push({ value: e.value, of: e.sources.map((s) => `${from(s)?.tagName}.${from(s)?.className} ${s.previousRect.y}->${s.currentRect.y}`) })
    }).observe({ type: 'layout-shift', buffered: true })
  })
  const page = await context.newPage()
  page.setDefaultTimeout(60_000) // what takes a moment takes longer on a busy machine
  // Whatever else runs on this machine makes and takes away networks, at which Chromium lets go of its connections, also of those that it has
  // just opened; the page asks again.
  page.expected = [letGo]
  for (const name of ['goto', 'reload']) page[name] = loads(page, page[name].bind(page))
  const wrong = (kind, text) => page.expected.some((e) => e.test(text)) || check(`${page.url()} ${kind}`, false, text)
  page.on('pageerror', (error) => wrong('threw', String(error)))
  page.on('console', (said) => said.type() === 'error' && wrong('logged', said.text()))
  page.on('response', (answer) => answer.status() >= 500 && wrong('was answered', `${answer.status()} ${answer.url()}`))
  return page
}

export async function signIn(page, token = env('TOKEN'), at = hub) {
  page.expected.push(/401/)
  const field = page.getByLabel('Token', { exact: true })
  // A page whose files Chromium let go of stays empty: whoever sees that loads it again.
  for (let again = 3; ; again--) {
    await page.goto(at + '/console/')
    if (again === 0 || (await field.waitFor({ timeout: 5_000 }).then(() => true, () => false))) break
  }
  await field.fill(token)
  await page.getByRole('button', { name: 'Sign in with the token' }).click()
  await page.getByRole('heading', { level: 1, name: 'Fleet' }).waitFor()
  page.expected = page.expected.filter((e) => String(e) !== '/401/')
}

/** Does something, and says yes when asked; again where the browser let go of its connections in between, as page.expected has it. */
export async function act(within, name) {
  await within.getByRole('button', { name, exact: true }).click()
  const ask = within.page().getByRole('dialog')
  for (;;) {
    await ask.getByRole('button', { name, exact: true }).click()
    const lost = ask.getByText('The hub is not reached')
    await Promise.race([ask.waitFor({ state: 'detached', timeout: 60_000 }), lost.waitFor({ timeout: 60_000 }).catch(() => {})])
    if ((await ask.count()) === 0) return
  }
}

/** Looks at a page as people do who need contrast, a keyboard or a screen reader. */
export async function reachable(page, name) {
  const results = await page.evaluate(`(() => { const module = undefined, exports = undefined; ${axe}; return window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }) })()`)
  for (const found of results.violations) {
    if (found.impact !== 'serious' && found.impact !== 'critical') continue
    check(`${name}: axe: ${found.id}: ${found.help}`, false, found.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + ' :: ' + (n.any[0]?.message ?? n.all[0]?.message ?? '')))
  }
}

/** Looks whether each status says for how long it is so. What would become of clusters has no age: it is told while somebody types. */
async function aged(page, name) {
  const without = await page.evaluate(() =>
    [...document.querySelectorAll('[role=row], tr, .title-status, .timeline-head, .line-status')]
      .filter((e) => e.querySelector('.mark') && !e.querySelector('time.age') && !e.closest('section[aria-label^="Try "]'))
      .map((e) => e.textContent.slice(0, 80)),
  )
  check(`${name}: a status has its age`, without.length === 0, without.slice(0, 3))
}

/** Looks whether what was on a page since it came, or since it was photographed last, jumped to another place under the pointer. */
async function still(page, name) {
  const jumps = await page.evaluate(() => window.jumps)
  const sum = jumps.reduce((n, j) => n + j.value, 0)
  check(`${name}: nothing jumps`, sum < 0.1, { sum, worst: jumps.sort((a, b) => b.value - a.value).slice(0, 2) })
}

/** Photographs a page at both widths in both schemes, and looks whether it fits. `whole` has what is below the window as well; one that `grows` shows what was typed. */
export async function photograph(page, name, { mask, whole, grows } = {}) {
  if (!grows) await still(page, name)
  await aged(page, name)
  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' })
    for (const width of [1280, 390]) {
      await page.setViewportSize({ width, height: width === 390 ? 844 : 860 })
      await page.waitForTimeout(150)
      const wide = await page.evaluate(() => document.documentElement.scrollWidth)
      check(`${name} at ${width} px is no wider than its window`, wide <= width, String(wide))
      await page.evaluate(() => window.scrollTo(0, 0)) // what the head of the page lies over is not too small
      if (width === 1280 || scheme === 'light') await reachable(page, `${name} at ${width} px, ${scheme}`)
      if (photos && (width === 1280 || scheme === 'light')) {
        mkdirSync(photos, { recursive: true })
        await page.screenshot({ path: `${photos}/${name}-${width}-${scheme}.png`, fullPage: whole, mask: mask ? [page.locator(mask)] : undefined })
      }
    }
  }
  await page.emulateMedia({ colorScheme: 'light' })
  await page.setViewportSize({ width: 1280, height: 860 })
  await settled(page) // what moved because the window did is no jump
}

/** Forgets what has moved until now: the window moved it, or what somebody did. Of the latter the browser knows where it comes within half a second alone. */
export const settled = (page) =>
  page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(drawn, 50)))).then(() => (window.jumps = [])))
