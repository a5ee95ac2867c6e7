import { useQuery } from '@tanstack/react-query'
import { lazy, Suspense, useEffect, useRef, useState } from 'react'
import { read } from '../api/client'
import type { Manifest, Problem } from '../api/types'
import { Title } from '../parts/frame'
import { Sign } from '../parts/icons'
import { Review, type Paper, type Reviewer } from '../parts/review'
import { Failed, Loading } from '../parts/states'
import { Link, usePlace } from '../router'

const Yaml = lazy(() => import('../parts/yaml'))

/** Where the console shows an object, and what that place is called. */
function placeOf({ resource, namespace, name = '' }: Paper): [to: string, called: string] {
  switch (resource) {
    case 'memberclusters.umbel.dev':
      return [name ? 'clusters/' + name : 'clusters', name || 'Clusters']
    case 'packages.umbel.dev':
      return [name ? `packages/${namespace}/${name}` : 'packages', name || 'Packages']
    case 'placements.umbel.dev':
      return [`placements${name ? '?' + new URLSearchParams({ q: `${namespace}/${name}` }).toString() : ''}`, 'Placement']
    case 'scopes.umbel.dev':
      return ['access', 'Access']
    case 'prometheusrules.monitoring.coreos.com':
      return ['alerts', 'Alerts']
    case 'configmaps':
      return [name ? `metrics/${namespace}/${name}` : 'metrics', 'Metrics']
    case 'clusters.cluster.x-k8s.io':
      return ['clusters', 'Clusters']
  }
  return ['packages', 'Packages']
}

/** An object of the hub as YAML: written, reviewed by the hub, and kept. */
export default function EditPage({ of }: { of: Paper }) {
  const { resource, namespace = '', name = '' } = of
  const manifest = useQuery({
    queryKey: ['manifest', resource, namespace, name],
    queryFn: ({ signal }) => read('/api/manifests/{resource}', { resource }, new URLSearchParams({ namespace, name }), signal),
    staleTime: Infinity, // what somebody writes on is not taken from under them
    gcTime: 0,
  })
  const [to, called] = placeOf(of)
  const kind = manifest.data?.kind
  return (
    <>
      <Title above={<Link to={to}>{called}</Link>} note={kind && (name ? `${kind} ${namespace ? namespace + '/' : ''}${name}` : `A ${kind}`)} twin={manifest.data && { kubectl: manifest.data.kubectl }}>
        {name ? `Edit ${name}` : `New ${kind ?? ''}`}
      </Title>
      {manifest.isPending && <Loading rows={14} />}
      {manifest.error && <Failed error={manifest.error} retry={() => void manifest.refetch()} />}
      {manifest.data && <Writing of={of} began={manifest.data} to={to} called={called} />}
    </>
  )
}

function Writing({ of, began, to, called }: { of: Paper; began: Manifest; to: string; called: string }) {
  const { go } = usePlace()
  const [base, setBase] = useState(began)
  const [text, setText] = useState(began.text)
  const [problems, setProblems] = useState<Problem[]>([])
  const [saved, setSaved] = useState(false)
  const reviewer = useRef<Reviewer>(null)
  const changed = text !== base.text
  useEffect(() => {
    if (!changed) return
    const stay = (event: BeforeUnloadEvent) => event.preventDefault()
    window.addEventListener('beforeunload', stay)
    return () => window.removeEventListener('beforeunload', stay)
  }, [changed])
  const label = `${base.kind} in YAML`
  return (
    <>
      {base.not && <p className="row-why row-why-wraps">You may look, and try, and not save: {base.not}.</p>}
      <Suspense fallback={<Loading rows={14} />}>
        <Yaml
          text={text}
          label={label}
          problems={problems}
          onText={(now) => {
            setText(now)
            setSaved(false)
          }}
          onReview={() => reviewer.current?.review()}
        />
      </Suspense>
      <Review
        ref={reviewer}
        of={of}
        manifest={base}
        text={text}
        onProblems={setProblems}
        onTake={(now, mine) => {
          setBase({ ...base, text: now })
          setText(mine)
        }}
        onSaved={(written) => {
          if (!of.name) return go(to)
          setBase({ ...base, ...written.saved!, not: base.not })
          setText(written.saved!.text)
          setSaved(true)
        }}
      />
      <p className="done" role="status">
        {saved && (
          <>
            <Sign shape="good" size={14} /> Saved. <Link to={to}>Back to {called}</Link>
          </>
        )}
      </p>
    </>
  )
}
