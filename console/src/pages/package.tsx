import { Tabs } from '@mantine/core'
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { lazy, Suspense } from 'react'
import { read } from '../api/client'
import type { PackageDetails, State } from '../api/types'
import { Deeds } from '../parts/deeds'
import { Panel, Title } from '../parts/frame'
import { Sign } from '../parts/icons'
import { Sheet } from '../parts/listing'
import { Pages } from '../parts/pages'
import { RolloutPicture } from '../parts/rollout'
import { Empty, Failed, Loading, Said, Warned } from '../parts/states'
import { Age, StateMark, states, WordMark } from '../parts/status'
import { Conditions, Events, Steps } from '../parts/told'
import { EditAsYaml } from '../parts/paper'
import { Link, usePlace } from '../router'

const Plan = lazy(() => import('../parts/plan'))
const Drift = lazy(() => import('../parts/drift'))
const Losses = lazy(() => import('../parts/losses'))

const limit = 50

/** One package: how far it is on which cluster, its releases, and how the newest gets there. */
export default function PackagePage({ namespace, name }: { namespace: string; name: string }) {
  const { query, set } = usePlace()
  const ask = new URLSearchParams({ limit: String(limit), from: query.get('from') ?? '0', q: query.get('q') ?? '' })
  for (const state of query.getAll('state')) ask.append('state', state)
  const pkg = useQuery({
    queryKey: ['package', namespace, name, ask.toString()],
    queryFn: ({ signal }) => read('/api/packages/{namespace}/{name}', { namespace, name }, ask, signal),
    placeholderData: keepPreviousData,
  })
  const tab = query.get('tab') ?? 'overview'
  const data = pkg.data
  const n = namespace === 'default' ? '' : ` -n ${namespace}`
  return (
    <>
      <Title
        above={<Link to="packages">Packages</Link>}
        actions={
          data && (
            <>
              <Deeds deeds={data.deeds} of={name} />
              <EditAsYaml of={{ resource: 'packages.umbel.dev', namespace, name }} />
            </>
          )
        }
        note={
          data && (
            <span className="title-status">
              <WordMark word={data.row.ready} good="Ready" bad="Not ready" /> <Age of={data.row.since} before="for " after="" />
            </span>
          )
        }
        twin={{ umbel: `umbel describe package ${name}${n}`, kubectl: `kubectl get packages.umbel.dev ${name} -n ${namespace} -o yaml` }}
      >
        <span className="quiet">{namespace}/</span>
        {name}
      </Title>
      {pkg.isPending && <Loading rows={10} />}
      {pkg.error && <Failed error={pkg.error} retry={() => void pkg.refetch()} />}
      {data && (
        <>
          <Warned warning={data.hub.warning} />
          <Tabs value={tab} onChange={(value) => set({ tab: value === 'overview' ? undefined : (value ?? undefined) })} keepMounted={false}>
            <Tabs.List>
              <Tabs.Tab value="overview">Overview</Tabs.Tab>
              <Tabs.Tab value="clusters">
                Clusters <span className="tab-count">{data.row.clusters.selected}</span>
              </Tabs.Tab>
              <Tabs.Tab value="plan">Plan</Tabs.Tab>
              <Tabs.Tab value="drift">Drift</Tabs.Tab>
              <Tabs.Tab value="deleted">Deleted</Tabs.Tab>
              <Tabs.Tab value="releases">
                Releases <span className="tab-count">{data.releases.length}</span>
              </Tabs.Tab>
            </Tabs.List>
            <Tabs.Panel value="overview">
              <Overview details={data} />
            </Tabs.Panel>
            <Tabs.Panel value="clusters">
              <Clusters details={data} />
            </Tabs.Panel>
            <Suspense fallback={<Loading />}>
              <Tabs.Panel value="plan">
                <Plan namespace={namespace} name={name} details={data} />
              </Tabs.Panel>
              <Tabs.Panel value="drift">
                <Drift namespace={namespace} name={name} mode={data.package.spec.drift?.mode ?? 'Repair'} />
              </Tabs.Panel>
              <Tabs.Panel value="deleted">
                <Losses namespace={namespace} name={name} />
              </Tabs.Panel>
            </Suspense>
            <Tabs.Panel value="releases">
              <Releases details={data} />
            </Tabs.Panel>
          </Tabs>
        </>
      )}
    </>
  )
}

function Overview({ details }: { details: PackageDetails }) {
  const { row, package: pkg } = details
  return (
    <div className="columns">
      <div>
        {row.ready.tone !== 'Good' && (
          <Panel title={row.ready.text === 'False' ? 'Why it is not ready' : 'Why it is not known'} className="why">
            <p className="why-text">
              <Said text={row.message || 'Nobody has said.'} />
            </p>
            <Steps steps={details.next} />
          </Panel>
        )}
        {details.rollout && (
          <Panel title="Rollout">
            <RolloutPicture sight={details.rollout} />
          </Panel>
        )}
        <Panel title="Conditions">
          <Conditions of={details.conditions} />
        </Panel>
        <Panel title="Happened lately">
          <Events of={{ apiVersion: 'umbel.dev/v1alpha1', kind: 'Package', name: row.name, namespace: row.namespace }} />
        </Panel>
      </div>
      <div>
        <Panel title="Clusters">
          <StateCounts details={details} />
        </Panel>
        <Panel title="About">
          <dl className="facts">
            <dt>Source</dt>
            <dd className="breaks">{row.source || 'inline, in the Package itself'}</dd>
            <dt>Revision</dt>
            <dd>
              <code className="small breaks">{pkg.status?.revision ?? 'none yet'}</code>
            </dd>
            <dt>Release</dt>
            <dd>
              <code className="small">{row.release || 'none yet'}</code>
            </dd>
            <dt>Placement</dt>
            <dd>
              <Link to={`placements?q=${encodeURIComponent(row.namespace + '/' + row.placement)}`}>{row.placement}</Link>
            </dd>
            <dt>Drift</dt>
            <dd>{pkg.spec.drift?.mode ?? 'Repair'}</dd>
            {pkg.status?.changes && (
              <>
                <dt>Changes</dt>
                <dd>
                  +{pkg.status.changes.added} ~{pkg.status.changes.changed} −{pkg.status.changes.deleted}
                </dd>
              </>
            )}
            <dt>Age</dt>
            <dd>
              <Age of={row.created} after="" />
            </dd>
          </dl>
        </Panel>
      </div>
    </div>
  )
}

function StateCounts({ details }: { details: PackageDetails }) {
  const { set } = usePlace()
  return (
    <ul className="state-counts">
      {details.counts.map((c) => (
        <li key={c.value}>
          <button type="button" onClick={() => set({ tab: 'clusters', state: c.value, from: undefined })} className={c.count ? 'tone-' + states[c.value as State].tone : ''}>
            <Sign shape={states[c.value as State].shape} size={14} />
            <span className="state-name">{c.value}</span>
            <span className="num">{c.count.toLocaleString()}</span>
          </button>
        </li>
      ))}
    </ul>
  )
}

function Clusters({ details }: { details: PackageDetails }) {
  const { query, set } = usePlace()
  const chosen = query.getAll('state')
  return (
    <div className="tab">
      <div className="tab-head" role="group" aria-label="States">
        {details.counts.map((c) => (
          <label key={c.value} className="chip">
            <input type="checkbox" checked={chosen.includes(c.value)} onChange={(e) => set({ state: e.currentTarget.checked ? [...chosen, c.value] : chosen.filter((s) => s !== c.value), from: undefined })} />
            <StateMark state={c.value as State} />
            <span>{c.count.toLocaleString()}</span>
          </label>
        ))}
      </div>
      {details.states.length === 0 ? (
        <Empty title={chosen.length ? 'No cluster is in this state.' : 'No cluster is selected.'} />
      ) : (
        <Sheet columns={['Cluster', 'State', 'Release', { name: 'Healthy', className: 'num' }, 'Drift']}>
              {details.states.map((s) => (
                <tr key={s.cluster}>
                  <td>
                    <Link to={`clusters/${s.cluster}`} className="strong">
                      {s.cluster}
                    </Link>
                    {s.message && <div className="row-why row-why-wraps">{s.message}</div>}
                    {s.package?.failures?.map((f) => (
                      <div key={f.object} className="row-why row-why-wraps">
                        {f.object} {f.file && <code className="small">{f.file}</code>}: {f.message}
                      </div>
                    ))}
                  </td>
                  <td>
                    <StateMark state={s.state} /> {s.lastSeen ? <Age of={s.lastSeen} before="last seen " /> : <Age of={s.package?.since} before="for " after="" />}
                  </td>
                  <td>
                    <code className="small">{s.package?.release ?? '–'}</code>
                  </td>
                  <td className="num">{s.package ? `${s.package.healthy}/${s.package.objects}` : '–'}</td>
                  <td>
                    {s.package?.repairs ? `${s.package.repairs} put back` : ''}
                    {s.package?.drifting ? ` ${s.package.drifting} drifting` : ''}
                    {s.package?.lastRepair && (
                      <div className="quiet small">
                        {s.package.lastRepair.object}: {s.package.lastRepair.cause} <Age of={s.package.lastRepair.time} />
                      </div>
                    )}
                  </td>
                </tr>
              ))}
        </Sheet>
      )}
      <Pages from={details.from} limit={limit} total={details.total} onFrom={(from) => set({ from: from ? String(from) : undefined })} />
    </div>
  )
}

function Releases({ details }: { details: PackageDetails }) {
  if (details.releases.length === 0) return <Empty title="There is no release yet.">The hub makes one when it has fetched and rendered the source.</Empty>
  return (
    <Sheet columns={['Release', 'Revision', 'Made', { name: 'Objects', className: 'num' }, 'Changes', 'Rollout', '']}>
          {details.releases.map((r) => (
            <tr key={r.name}>
              <td>
                <code className="small">{r.name}</code> {r.name === details.row.release && <span className="label">current</span>}
              </td>
              <td>
                <code className="small">{r.revision}</code>
              </td>
              <td className="nowrap">
                <Age of={r.created} />
              </td>
              <td className="num">{r.objects}</td>
              <td className="nowrap">{r.changes ? `+${r.changes.added} ~${r.changes.changed} −${r.changes.deleted}` : '–'}</td>
              <td>{r.rollout ? <WordMark word={r.phase} /> : '–'}</td>
              <td>
                <Link to={`packages/${details.row.namespace}/${details.row.name}?${new URLSearchParams({ tab: 'plan', release: r.name })}`}>What would it do?</Link>
              </td>
            </tr>
          ))}
    </Sheet>
  )
}
