// What somebody writes: objects of the hub as YAML, and dashboards of their own; and what clusters hold, to be read.
import { act, browse, check, env, hub, open, photograph, signIn, step } from './browser.mjs'

await browse(async (browser) => {
  const page = await open(browser)
  const main = page.getByRole('main')
  const editor = (kind) => page.locator(`.cm-content[aria-label="${kind} in YAML"]`)
  /** Writes what is there anew, as a keyboard does. */
  const rewrite = async (kind, change) => {
    const before = (await editor(kind).innerText()).replace(/\n\n/g, '\n')
    const after = change(before)
    check(`${kind}: there is something to change`, after !== before, before)
    await editor(kind).click()
    await page.keyboard.press('Control+a')
    await page.keyboard.insertText(after)
  }
  const api = (path, method = 'GET', body, type = 'application/json') =>
    page.evaluate(async ([path, method, body, type]) => {
      for (let again = 3; ; again--) {
        try {
          return await fetch('/console' + path, { method, headers: { 'Content-Type': type, 'X-Umbel-Console': '1' }, body: body && JSON.stringify(body) }).then((r) => r.json())
        } catch (error) {
          if (again === 0) throw error // that the browser let go of its connection is no answer
        }
      }
    }, [path, method, body, type])
  const prodUs = '/k8s/apis/umbel.dev/v1alpha1/memberclusters/prod-us'

  await step('a token signs in', () => signIn(page), { vital: true })

  await step('an object is edited as YAML: tried, shown, and kept', async () => {
    await page.goto(hub + '/console/clusters/prod-us')
    await main.getByRole('link', { name: 'Edit as YAML' }).click()
    await page.getByRole('heading', { level: 1, name: 'Edit prod-us' }).waitFor()
    check('where it is edited has an address', page.url() === hub + '/console/edit/memberclusters.umbel.dev/prod-us', page.url())
    await editor('MemberCluster').getByText('region').waitFor()
    const text = await editor('MemberCluster').innerText()
    check('what the API writes is not to be written', !/managedFields|resourceVersion|status:|uid:/.test(text), text)
    check('nothing is reviewed that was not changed', await main.getByRole('button', { name: 'Review changes' }).isDisabled())
    await editor('MemberCluster').locator('.cm-line', { hasText: 'region:' }).click()
    await page.keyboard.press('End')
    await page.keyboard.press('Enter')
    await page.keyboard.type('tier: gold')
    await page.keyboard.press('Control+Enter')
    const review = page.getByRole('region', { name: 'What changes' })
    await review.getByText('tier: gold').first().waitFor()
    await review.getByRole('button', { name: `Copy kubectl patch memberclusters.umbel.dev prod-us --type merge -p '{"metadata":{"labels":{"tier":"gold"}}}'` }).waitFor()
    check('a review keeps nothing', (await api(prodUs)).metadata.labels.tier === undefined)
    await photograph(page, 'yaml', { whole: true })
    await review.getByRole('button', { name: 'Save' }).click()
    await main.getByText('Saved.').waitFor()
    check('it is kept', (await api(prodUs)).metadata.labels.tier === 'gold')
  })

  await step('what somebody else has changed meanwhile is not written over', async () => {
    await rewrite('MemberCluster', (text) => text.replace('tier: gold', 'tier: silver'))
    await api(prodUs, 'PATCH', { metadata: { labels: { owner: 'bob' } } }, 'application/merge-patch+json')
    const changed = page.getByRole('region', { name: 'Somebody else has changed it' })
    // Who it was is in the audit log a moment later, for which a review waits no longer than three seconds.
    for (let again = 20; ; again--) {
      await page.waitForTimeout(1500)
      await main.getByRole('button', { name: 'Review changes' }).click()
      await changed.getByText('owner: bob').waitFor()
      const who = changed.getByText(/system:serviceaccount:default:ada/).waitFor({ timeout: 5_000 })
      if (again === 0) {
        await who
        break
      }
      if (await who.then(() => true, () => false)) break
    }
    await photograph(page, 'yaml-changed', { whole: true })
    await changed.getByRole('button', { name: 'Put mine on top of theirs' }).click()
    await editor('MemberCluster').getByText('owner').waitFor()
    await main.getByRole('button', { name: 'Review changes' }).click()
    await page.getByRole('region', { name: 'What changes' }).getByRole('button', { name: 'Save' }).click()
    await main.getByText('Saved.').waitFor()
    const { labels } = (await api(prodUs)).metadata
    check('both are kept', labels.tier === 'silver' && labels.owner === 'bob', labels)
    await rewrite('MemberCluster', (text) => text.replace(/\n *(tier|owner): .*/g, ''))
    await main.getByRole('button', { name: 'Review changes' }).click()
    await page.getByRole('region', { name: 'What changes' }).getByRole('button', { name: 'Save' }).click()
    await main.getByText('Saved.').waitFor()
  })

  await step('what the API does not take stands at its line', async () => {
    await page.goto(hub + '/console/placements')
    await page.getByRole('row', { name: /everywhere/ }).getByRole('link', { name: 'Edit as YAML: everywhere' }).click()
    await editor('Placement').getByText('spec').waitFor()
    await rewrite('Placement', (text) => text.trimEnd() + '\n  bananas: 3\n')
    await main.getByRole('button', { name: 'Review changes' }).click()
    const refused = main.getByRole('alert').filter({ hasText: 'The hub does not take this' })
    await refused.getByText(/line \d+ ?spec\.bananas ?there is no such field/).waitFor()
    check('the line is marked', (await page.locator('.cm-line', { hasText: 'bananas' }).locator('.cm-lintRange-error').count()) === 1)
    await photograph(page, 'yaml-refused')
    page.once('dialog', (ask) => void ask.accept())
  })

  await step('a new object is made from YAML', async () => {
    await page.goto(hub + '/console/placements')
    await main.getByRole('link', { name: 'New from YAML' }).click()
    await editor('Placement').getByText('clusterSelector').waitFor()
    await main.getByRole('button', { name: 'Review changes' }).click()
    await main.getByText('give it a name').waitFor()
    await rewrite('Placement', (text) => text.replace('name: ""', 'name: written'))
    await main.getByRole('button', { name: 'Review changes' }).click()
    const review = page.getByRole('region', { name: 'What changes' })
    await review.getByRole('button', { name: /^Copy kubectl create -f - <<'EOF' apiVersion: umbel.dev.v1alpha1 kind: Placement/ }).waitFor()
    await review.getByRole('button', { name: 'Save' }).click()
    await page.getByRole('heading', { level: 1, name: 'Placement' }).waitFor()
    await page.getByRole('row', { name: /written/ }).getByRole('cell', { name: '2', exact: true }).waitFor()
    await api('/k8s/apis/umbel.dev/v1alpha1/namespaces/default/placements/written', 'DELETE')
  })

  await step('an object of a cluster is read as YAML, and of a Secret not what it hides', async () => {
    const secrets = '/clusters/prod-eu/k8s/api/v1/namespaces/default/secrets'
    await api(secrets, 'POST', { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'hush' }, stringData: { pin: 'four-seven-one-one' } })
    await page.goto(hub + '/console/search?' + new URLSearchParams({ kind: 'secrets', name: 'default/hush', clusters: 'region=eu' }))
    await page.getByRole('row', { name: /prod-eu.*Secret default\/hush/ }).getByRole('link', { name: 'Read as YAML' }).click()
    await editor('Secret').getByText('(not shown)').first().waitFor()
    const text = await page.locator('body').innerText()
    check('the value is not shown', !text.includes('four-seven') && !text.includes(Buffer.from('four-seven-one-one').toString('base64').slice(0, 12)), text)
    await page.getByText('what is in a cluster is changed where it comes from').waitFor()
    await editor('Secret').click()
    await page.keyboard.type('x')
    check('it is read, and not written', (await editor('Secret').innerText()).replace(/\n\n/g, '\n').startsWith('apiVersion: v1\n'))
    await photograph(page, 'object')
    await api(secrets + '/hush', 'DELETE')
    await page.goto(hub + '/console/clusters/prod-eu?tab=workloads&kind=Deployments')
    await page.getByRole('link', { name: /coredns|storefront|web/ }).first().click()
    await editor('Deployment').getByText('containers').first().waitFor()
  })

  await step('a dashboard is made, shown, changed and deleted', async () => {
    await page.goto(hub + '/console/metrics?' + new URLSearchParams({ query: 'sum by (cluster) (umbel_pods)' }))
    await main.getByRole('link', { name: 'Keep it in a dashboard' }).click()
    await page.getByRole('heading', { level: 1, name: 'New dashboard' }).waitFor()
    await main.getByLabel('Title', { exact: true }).fill('What runs')
    check('a name is made of the title', (await main.getByLabel('Name', { exact: true }).inputValue()) === 'what-runs')
    const first = page.getByRole('region', { name: 'Panel 1' })
    await first.getByLabel('Title of the panel').fill('Pods')
    await main.getByRole('button', { name: 'Add a panel' }).click()
    const second = page.getByRole('region', { name: 'Panel 2' })
    await second.getByLabel('Title of the panel').fill('Memory of nodes')
    await second.getByLabel('Values are').selectOption('bytes')
    await second.locator('.cm-content').click()
    await page.keyboard.insertText('sum by (cluster) (node_memory_working_set_bytes)')
    await page.keyboard.press('Escape')
    await second.getByRole('button', { name: 'Draw panel 2' }).click()
    await second.getByRole('listitem').filter({ hasText: 'prod-eu' }).waitFor()
    await main.getByRole('button', { name: 'Review changes' }).click()
    const review = page.getByRole('region', { name: 'What changes' })
    await review.getByRole('button', { name: /^Copy kubectl create -f - <<'EOF' apiVersion: v1 data: what-runs.json/ }).waitFor()
    await photograph(page, 'dashboard-edit', { whole: true })
    await review.getByRole('button', { name: 'Save' }).click()
    await page.getByRole('heading', { level: 1, name: 'What runs' }).waitFor()
    check('it has an address', page.url() === hub + '/console/metrics/default/what-runs', page.url())
    await page.getByRole('region', { name: 'Memory of nodes' }).getByText(/MiB|GiB/).first().waitFor()
    await page.getByRole('region', { name: 'Pods' }).getByRole('listitem').filter({ hasText: 'prod-us' }).waitFor()
    await photograph(page, 'dashboard')
    const kept = await api('/k8s/api/v1/namespaces/default/configmaps/what-runs')
    const model = JSON.parse(kept.data['what-runs.json'])
    check('it is kept as Grafana finds it', kept.metadata.labels.grafana_dashboard === '1' && model.panels[1].type === 'timeseries' && model.panels[1].fieldConfig.defaults.unit === 'bytes' && model.panels[1].gridPos.x === 12, model)

    await main.getByRole('link', { name: 'Edit', exact: true }).click()
    await page.getByRole('button', { name: 'Move panel 2 up' }).click()
    await page.getByRole('button', { name: 'Remove panel 2' }).click()
    await main.getByRole('button', { name: 'Review changes' }).click()
    await page.getByRole('region', { name: 'What changes' }).getByRole('button', { name: 'Save' }).click()
    await page.getByRole('region', { name: 'Memory of nodes' }).waitFor()
    await page.getByRole('region', { name: 'Pods' }).waitFor({ state: 'detached' })
    await main.getByRole('link', { name: 'Edit as YAML' }).click()
    await editor('ConfigMap').getByText('"title": "What runs"').first().waitFor()
    await page.goBack()
    await act(main, 'Delete')
    await page.getByRole('heading', { level: 1, name: 'Metrics' }).waitFor()
    await page.getByRole('navigation', { name: 'Dashboards' }).getByRole('link', { name: /What runs/ }).waitFor({ state: 'detached' })
  })

  await step('a search shows what has come, and names who does not answer', async () => {
    process.kill(Number(env('APISERVER')), 'SIGSTOP')
    try {
      const there = page.getByRole('region', { name: 'On the clusters' })
      const row = there.getByRole('row', { name: /prod-eu/ })
      let asked = 0
      page.on('request', (request) => (asked += request.url().includes('/api/find?')))
      // What has come is told until nobody waits for the third any more, after ten seconds: where the two took as long, they are asked once more. So they
      // are where the browser let go of its connection: the page asks anew by itself then, and shows what comes in the order in which it comes.
      for (let again = 5; ; again--) {
        try {
          await page.goto(hub + '/console/search?' + new URLSearchParams({ kind: 'configmaps', name: 'shop/storefront' }))
          await there.getByText('2 found. 2 of 3 clusters have answered').waitFor({ timeout: 9_000 })
          await row.waitFor({ timeout: 9_000 })
          const [before, then] = [await row.boundingBox(), asked]
          await photograph(page, 'search-comes')
          await there.getByText(/did not answer within 10s: ask again/).or(there.getByText(/not connected/)).waitFor({ timeout: 20_000 })
          await there.getByText('2 found. Asked 3 clusters').waitFor()
          const after = await row.boundingBox()
          if (asked > then) throw new Error('they were asked anew')
          check('what was there has not moved', after.y === before.y, [before, after])
          break
        } catch (error) {
          if (again === 0) throw error
        }
      }
      check('no flag of the command line is named', !/--timeout/.test(await there.innerText()))
    } finally {
      process.kill(Number(env('APISERVER')), 'SIGCONT')
    }
    await page.goto(hub + '/console/clusters/dev')
    await main.getByText('Ready').first().waitFor({ timeout: 60_000 })
  })
})
