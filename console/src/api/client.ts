import type { AlertPage, CapacityPage, ClusterDetails, ClusterPage, Dashboard, DashboardPage, DriftPage, Fleet, ForeseenPage, FoundLine, Hit, LossPage, Manifest, Me, PackageDetails, PackagePage, PlacementPage, PlanSight, Ways, Written } from './types'

/** What the hub says when it does not do what was asked: a Status of Kubernetes. */
export class Refused extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message)
  }
}

/** Says of an error that a connection broke off: that tells nothing of what was asked for, which may be asked for again. */
export const brokeOff = (error: unknown) => !(error instanceof Refused && error.code > 0)

/** What can be read, by path. A part in braces is filled in by `at`. */
interface Reads {
  '/api/ways': Ways
  '/api/me': Me
  '/api/fleet': Fleet
  '/api/clusters': ClusterPage
  '/api/clusters/{name}': ClusterDetails
  '/api/packages': PackagePage
  '/api/packages/{namespace}/{name}': PackageDetails
  '/api/placements': PlacementPage
  '/api/foresee': ForeseenPage
  '/api/search': Hit[]
  '/api/clusters/{name}/manifest': Manifest
  '/api/manifests/{resource}': Manifest
  '/api/dashboards': DashboardPage
  '/api/dashboards/{namespace}/{name}': Dashboard
  '/api/packages/{namespace}/{name}/plan': PlanSight
  '/api/packages/{namespace}/{name}/drift': DriftPage
  '/api/packages/{namespace}/{name}/losses': LossPage
  '/api/alerts': AlertPage
  '/api/capacity': CapacityPage
}

const base = '/console'

export function at(path: string, parts: Record<string, string> = {}, query?: URLSearchParams): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(parts[name] ?? ''))
  const asked = query?.toString()
  return base + filled + (asked ? '?' + asked : '')
}

/** Reads one of the answers that the console has of its own. */
export async function read<P extends keyof Reads>(
  path: P,
  parts?: Record<string, string>,
  query?: URLSearchParams,
  signal?: AbortSignal,
): Promise<Reads[P]> {
  return (await ask(at(path, parts, query), { signal })).json() as Promise<Reads[P]>
}

/** Has the hub say what would become of a manifest, or with no dry run keep it. `base` is what it was begun with. */
export async function write(of: { resource: string; namespace?: string; name?: string }, text: string, base: { text: string; read: string }, dry: boolean): Promise<Written> {
  const { resource, namespace = '', name = '' } = of
  const query = new URLSearchParams({ namespace, name, ...(dry ? { dryRun: 'All' } : {}) })
  return (await ask(at('/api/manifests/{resource}', { resource }, query), { method: 'POST', body: { text, base: base.text, read: base.read } })).json() as Promise<Written>
}

/** Asks clusters for objects, and yields what each has as it comes. */
export async function* find(query: URLSearchParams, signal: AbortSignal): AsyncGenerator<FoundLine> {
  const answer = await ask(at('/api/find', {}, query), { signal })
  let left = ''
  for (const from = answer.body!.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
    const { done, value } = await from.read().catch((e: unknown) => {
      throw signal.aborted ? e : new Refused(0, 'The connection to the hub broke off before all clusters had answered: ask again.')
    })
    if (done) return
    const lines = (left + value).split('\n')
    left = lines.pop() ?? ''
    for (const line of lines) yield JSON.parse(line) as FoundLine
  }
}

/** Asks the hub's own API, as kubectl does. */
export async function hub<T>(path: string, init: Init = {}): Promise<T> {
  return (await ask(base + '/k8s' + path, init)).json() as Promise<T>
}

/** Asks the API of a member, as kubectl does through the hub. */
export async function member(cluster: string, path: string, init: Init = {}): Promise<Response> {
  return ask(base + '/clusters/' + encodeURIComponent(cluster) + '/k8s' + path, init)
}

interface Init {
  method?: string
  type?: string
  body?: unknown
  signal?: AbortSignal
}

export async function ask(path: string, init: Init = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json' }
  if (init.method && init.method !== 'GET') headers['X-Umbel-Console'] = '1'
  if (init.body !== undefined) headers['Content-Type'] = init.type ?? 'application/json'
  let answer: Response
  try {
    answer = await fetch(path, {
      method: init.method ?? 'GET',
      headers,
      body: init.body === undefined ? undefined : JSON.stringify(init.body),
      signal: init.signal,
      credentials: 'same-origin',
      redirect: 'error',
    })
  } catch (e) {
    if (init.signal?.aborted) throw e
    throw new Refused(0, 'The hub does not answer. Is it running, and is this machine still connected to it?')
  }
  if (answer.ok) return answer
  const text = await answer.text()
  let message = text || answer.statusText
  try {
    message = (JSON.parse(text) as { message?: string }).message || message
  } catch {
    // it is no Status: the text is what there is
  }
  throw new Refused(answer.status, message)
}

export const signIn = (token: string) => ask(base + '/api/signin', { method: 'POST', body: { token } })
export const signOut = (everywhere: boolean) => ask(base + '/api/signout', { method: 'POST', body: { everywhere } })
