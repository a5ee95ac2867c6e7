import { useQuery } from '@tanstack/react-query'
import { Component, lazy, Suspense, useCallback, useEffect, type ReactNode } from 'react'
import { read, Refused } from './api/client'
import type { Me } from './api/types'
import { queries, useLive } from './live'
import { Frame, Title } from './parts/frame'
import { Empty, Failed, Loading } from './parts/states'
import { FleetPage } from './pages/fleet'
import { SignIn } from './pages/signin'
import { Link, usePlace } from './router'

const ClustersPage = lazy(() => import('./pages/clusters'))
const ClusterPage = lazy(() => import('./pages/cluster'))
const PackagesPage = lazy(() => import('./pages/packages'))
const PackagePage = lazy(() => import('./pages/package'))
const PlacementsPage = lazy(() => import('./pages/placements'))
const SearchPage = lazy(() => import('./pages/search'))
const MetricsPage = lazy(() => import('./pages/metrics'))
const EditPage = lazy(() => import('./pages/edit'))
const ObjectPage = lazy(() => import('./pages/object'))
const AlertsPage = lazy(() => import('./pages/alerts'))
const AuditPage = lazy(() => import('./pages/audit'))
const AccessPage = lazy(() => import('./pages/access'))
const SettingsPage = lazy(() => import('./pages/settings'))

export function App() {
  const me = useQuery({
    queryKey: ['me'],
    queryFn: ({ signal }) => read('/api/me', {}, undefined, signal),
    staleTime: 60_000,
    refetchInterval: 60_000,
    retry: (times, error) => times < 3 && !(error instanceof Refused && error.code === 401),
  })
  if (me.isPending) return null
  if (me.error instanceof Refused && me.error.code === 401) {
    const why = me.error.message.replace(/^you are not signed in(: )?/, '')
    return <SignIn why={why} onIn={() => void queries.resetQueries()} />
  }
  if (!me.data) return <Failed error={me.error} retry={() => void me.refetch()} />
  return <SignedIn me={me.data} />
}

function SignedIn({ me }: { me: Me }) {
  const over = useCallback(() => void queries.invalidateQueries({ queryKey: ['me'] }), [])
  const live = useLive(over)
  const { parts } = usePlace()
  return (
    <Frame me={me} live={live} onOut={() => void queries.resetQueries()}>
      <Whole key={parts.slice(0, 4).join('/')}>
        <Suspense fallback={<Loading />}>
          <Page me={me} />
        </Suspense>
      </Whole>
    </Frame>
  )
}

/** Says so where a page cannot be drawn, be it that the hub is away and has not sent the page yet, instead of drawing nothing at all. */
class Whole extends Component<{ children: ReactNode }, { error: unknown }> {
  state = { error: null as unknown }

  static getDerivedStateFromError(error: unknown) {
    return { error: /dynamically imported|preload/.test(String(error)) ? new Refused(0, 'The hub does not answer, and this page had not come from it yet.') : error }
  }

  render() {
    return this.state.error ? <Failed error={this.state.error} retry={() => window.location.reload()} /> : this.props.children
  }
}

function Page({ me }: { me: Me }) {
  const { parts, query } = usePlace()
  const [page, first, second, third] = parts
  useEffect(() => {
    document.title = [...parts.slice(1), parts[0] ?? 'fleet', 'Umbel'].join(' · ')
  }, [parts])
  switch (page) {
    case undefined:
      return <FleetPage />
    case 'clusters':
      return first ? <ClusterPage name={first} /> : <ClustersPage />
    case 'packages':
      return first && second ? <PackagePage namespace={first} name={second} /> : <PackagesPage />
    case 'placements':
      return <PlacementsPage />
    case 'search':
      return <SearchPage />
    case 'metrics':
      return <MetricsPage />
    case 'edit':
      if (first && second) return <EditPage of={third ? { resource: first, namespace: second, name: third } : { resource: first, name: second }} />
      break
    case 'new':
      if (first) return <EditPage of={{ resource: first, namespace: query.get('namespace') ?? undefined }} />
      break
    case 'objects':
      if (first) return <ObjectPage cluster={first} />
      break
    case 'alerts':
      return <AlertsPage />
    case 'audit':
      return <AuditPage />
    case 'access':
      return <AccessPage me={me} />
    case 'settings':
      return <SettingsPage me={me} />
  }
  return (
    <>
      <Title>There is no such page</Title>
      <Empty title={`Nothing of the console is called ${page}.`}>
        <Link to="">The fleet</Link> is where everything begins.
      </Empty>
    </>
  )
}
