import { Tabs } from '@mantine/core'
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { lazy, Suspense } from 'react'
import { read } from '../api/client'
import type { ClusterDetails } from '../api/types'
import { Alerts } from '../parts/alert'
import { Panel, Title } from '../parts/frame'
import { Deeds } from '../parts/deeds'
import { History } from '../parts/history'
import { graphs, Measured } from '../parts/measured'
import { Sheet } from '../parts/listing'
import { Conditions, Events, Steps } from '../parts/told'
import { Empty, Failed, Loading, Said, Warned } from '../parts/states'
import { Age, HealthMark, Mark, StateMark } from '../parts/status'
import { EditAsYaml } from '../parts/paper'
import { Link, usePlace } from '../router'

const Member = lazy(() => import('../parts/member'))

const tabs = ['overview', 'packages', 'nodes', 'workloads', 'metrics', 'events']

/** One cluster: how it is and why, and what is in it. */
export default function ClusterPage({ name }: { name: string }) {
  const { query, set } = usePlace()
  const cluster = useQuery({
    queryKey: ['cluster', name],
    queryFn: ({ signal }) => read('/api/clusters/{name}', { name }, undefined, signal),
    placeholderData: keepPreviousData,
  })
  const tab = query.get('tab') ?? 'overview'
  const data = cluster.data
  const made = data?.cluster.metadata?.annotations?.['umbel.dev/managed-cluster']?.split('/')
  return (
    <>
      <Title
        above={<Link to="clusters">Clusters</Link>}
        note={data && <Head details={data} />}
        actions={
          data && (
            <>
              <Deeds deeds={data.deeds} of={name} />
              <EditAsYaml of={{ resource: 'memberclusters.umbel.dev', name }} />
              {made && <EditAsYaml of={{ resource: 'clusters.cluster.x-k8s.io', namespace: made[0], name: made[1] }} text="Edit its Cluster" />}
            </>
          )
        }
        twin={{ umbel: `umbel describe cluster ${name}`, kubectl: `kubectl get memberclusters.umbel.dev ${name} -o yaml` }}
      >
        {name}
      </Title>
      {cluster.isPending && <Loading rows={10} />}
      {cluster.error && <Failed error={cluster.error} retry={() => void cluster.refetch()} />}
      {data && (
        <>
          <Warned warning={data.hub.warning} />
          <Tabs value={tab} onChange={(value) => set({ tab: value === 'overview' ? undefined : (value ?? undefined) })} keepMounted={false}>
            <Tabs.List>
              {tabs.map((t) => (
                <Tabs.Tab key={t} value={t}>
                  {t[0]!.toUpperCase() + t.slice(1)}
                  {t === 'packages' && <span className="tab-count">{data.row.packages}</span>}
                </Tabs.Tab>
              ))}
            </Tabs.List>
            <Tabs.Panel value="overview">
              <Overview details={data} />
            </Tabs.Panel>
            <Tabs.Panel value="packages">
              <Held details={data} />
            </Tabs.Panel>
            <Tabs.Panel value="metrics">
              <div className="graphs tab">
                {graphs.map((g) => (
                  <Panel key={g.name} title={g.name}>
                    <Measured query={g.query.replace('BY', 'instance')} minutes={60} cluster={name} unit={g.unit} label={g.name} />
                  </Panel>
                ))}
              </div>
            </Tabs.Panel>
            {['nodes', 'workloads', 'events'].map((what) => (
              <Tabs.Panel key={what} value={what}>
                {data.reachable ? (
                  <Suspense fallback={<Loading />}>
                    <Member cluster={name} what={what} />
                  </Suspense>
                ) : (
                  <Empty title="The cluster is not connected, so it cannot be asked.">
                    {data.row.lastSeen && (
                      <p>
                        It was <Age of={data.row.lastSeen} before="last seen " />.
                      </p>
                    )}
                    <Steps steps={data.next} />
                  </Empty>
                )}
              </Tabs.Panel>
            ))}
          </Tabs>
        </>
      )}
    </>
  )
}

function Head({ details: { row } }: { details: ClusterDetails }) {
  const unknown = row.health === 'Unknown'
  return (
    <span className="title-status">
      <HealthMark health={row.health} />
      <Age of={unknown ? (row.lastSeen ?? row.since) : row.since} before={unknown && row.lastSeen ? 'last seen ' : 'for '} after={unknown && row.lastSeen ? ' ago' : ''} />
    </span>
  )
}

function Overview({ details }: { details: ClusterDetails }) {
  const { row, cluster } = details
  const until = cluster.status?.identity?.certificateNotAfter
  return (
    <div className="columns">
      <div>
        {row.health !== 'Ready' && (
          <Panel title={row.health === 'Unknown' ? 'Why it is not known' : 'Why it is not ready'} className="why">
            <p className="why-text">
              <Said text={row.why || 'Nobody has said.'} />
            </p>
            <Steps steps={details.next} />
          </Panel>
        )}
        <Panel title="Conditions">
          <Conditions of={details.conditions} />
        </Panel>
        <History cluster={row.name} />
        <Panel title="Happened lately on the hub">
          <Events of={{ apiVersion: 'umbel.dev/v1alpha1', kind: 'MemberCluster', name: row.name }} />
        </Panel>
      </div>
      <div>
      <Alerts cluster={row.name} />
      <Panel title="About">
        <dl className="facts">
          <dt>Kubernetes</dt>
          <dd>{row.kubernetes ?? 'not known yet'}</dd>
          <dt>Agent</dt>
          <dd>{row.agent ?? 'not known yet'}</dd>
          <dt>Level</dt>
          <dd>
            <Link to={`clusters?${new URLSearchParams({ 'f.level': row.level })}`}>{row.level}</Link>
          </dd>
          <dt>Admission</dt>
          <dd>{cluster.spec?.admission ?? 'Admitted'}</dd>
          <dt>Labels</dt>
          <dd>
            {Object.entries(row.labels ?? {}).map(([k, v]) => (
              <Link key={k} to={`clusters?${new URLSearchParams({ ['f.label:' + k]: v })}`} className="label">
                {k}={v}
              </Link>
            ))}
            {Object.keys(row.labels ?? {}).length === 0 && 'none'}
          </dd>
          {cluster.spec?.taints && cluster.spec.taints.length > 0 && (
            <>
              <dt>Taints</dt>
              <dd>{cluster.spec.taints.map((t) => `${t.key}${t.value ? '=' + t.value : ''}:${t.effect}`).join(', ')}</dd>
            </>
          )}
          <dt>On deletion</dt>
          <dd>{cluster.spec?.deletionPolicy === 'Prune' ? 'what Umbel applied there is deleted' : 'what Umbel applied there stays'}</dd>
          <dt>Joined</dt>
          <dd>
            <Age of={row.created} />
          </dd>
          {until && (
            <>
              <dt>Agent’s certificate</dt>
              <dd>ends {new Date(until).toLocaleString()}, unless it is renewed before, as it is while the agent is connected</dd>
            </>
          )}
          {cluster.status?.identity && (
            <>
              <dt>Key</dt>
              <dd>
                <code className="small">{cluster.status.identity.keyFingerprint.slice(0, 24)}…</code>
              </dd>
            </>
          )}
        </dl>
      </Panel>
      </div>
    </div>
  )
}

function Held({ details }: { details: ClusterDetails }) {
  if (details.packages.length === 0) return <Empty title="No package is for this cluster.">A Placement whose selector matches its labels brings it one.</Empty>
  return (
    <Sheet columns={['Package', 'State', 'Release', { name: 'Healthy', className: 'num' }, { name: 'Repairs', className: 'num' }]}>
          {details.packages.map(({ state, message, package: held }) => (
            <tr key={held.package}>
              <td>
                <Link to={'packages/' + held.package}>{held.package}</Link>
                {message && <div className="row-why row-why-wraps">{message}</div>}
                {held.failures?.map((f) => (
                  <div key={f.object} className="row-why row-why-wraps">
                    <Mark tone="Bad" text={f.object} /> {f.file && <code className="small">{f.file}</code>} {f.message}
                  </div>
                ))}
              </td>
              <td>
                <StateMark state={state} /> <Age of={held.since} before="for " after="" />
              </td>
              <td>
                <code className="small">{held.release}</code>
              </td>
              <td className="num">
                {held.healthy}/{held.objects}
              </td>
              <td className="num">
                {held.repairs ?? 0}
                {held.lastRepair && <div className="quiet small">{held.lastRepair.object}: {held.lastRepair.cause} <Age of={held.lastRepair.time} /></div>}
              </td>
            </tr>
          ))}
    </Sheet>
  )
}
