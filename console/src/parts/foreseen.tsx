import { Button } from '@mantine/core'
import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { read } from '../api/client'
import type { ForeseenPage } from '../api/types'
import { Link, usePlace } from '../router'
import { Deeds } from './deeds'
import { Panel } from './frame'
import { Sheet, Words } from './listing'
import { Pages } from './pages'
import { Empty, Failed, Loading } from './states'
import { Mark, type Tone } from './status'

const limit = 20

const marks: Record<string, { tone: Tone; text: string }> = {
  Selected: { tone: 'Good', text: 'Selected' },
  Undecided: { tone: 'Doubtful', text: 'It cannot be told' },
  NotSelected: { tone: 'Plain', text: 'Not selected' },
}

/** The parameters of what is tried, all of which go when nothing is tried any more. */
const own = ['of', 'labels', 'expression', 'would', 'tried', 'as', 'in']

/** Tries a selector while it is typed: the hub decides, as it does for a placement, and nothing is changed. */
export function Foreseen() {
  const { query, set } = usePlace()
  const at = (name: string) => query.get(name) ?? ''
  const asked = new URLSearchParams({ of: at('of'), labels: at('labels'), expression: at('expression'), state: at('would'), from: at('tried') || '0', as: at('as'), in: at('in'), limit: String(limit) })
  const tries = own.slice(0, 3).some((name) => at(name) !== '')
  const got = useQuery({
    queryKey: ['foreseen', asked.toString()],
    queryFn: ({ signal }) => read('/api/foresee', {}, asked, signal),
    enabled: tries,
    placeholderData: keepPreviousData,
  })
  return (
    <Panel
      title={at('of') ? `Try another selector of ${at('of')}` : 'Try a selector'}
      right={
        tries && (
          <Button size="xs" variant="subtle" color="gray" onClick={() => set(Object.fromEntries(own.map((name) => [name, undefined])))}>
            Clear
          </Button>
        )
      }
    >
      <div className="filters filters-wrap">
        <Words label="Labels of clusters" placeholder="env=prod,region in (eu, us)" param="labels" resets="tried" />
        <Words label="Expression of clusters" placeholder="CEL, such as cluster.version.startsWith('v1.36')" param="expression" resets="tried" />
      </div>
      {!tries && <p className="quiet">Type what a Placement would select by: this shows which clusters those are, and what the others do not meet. Nothing is changed.</p>}
      {tries && got.isPending && <Loading rows={9} />}
      {tries && got.error && <Failed error={got.error} retry={() => void got.refetch()} />}
      {tries && got.data && <Shown page={got.data} of={at('of')} />}
    </Panel>
  )
}

function Shown({ page, of }: { page: ForeseenPage; of: string }) {
  const { query, set } = usePlace()
  if (page.problem)
    return (
      <p role="status" className="row-why row-why-wraps">
        <Mark tone="Doubtful" text={page.problem} />
      </p>
    )
  const would = query.get('would') ?? ''
  const counts: [string, number][] = [
    ['Selected', page.selected],
    ['Undecided', page.undecided],
    ['NotSelected', page.not],
  ]
  return (
    <>
      <p role="status" className="tried">
        <code className="small">{page.means}</code> selects {page.selected.toLocaleString()} of {(page.selected + page.undecided + page.not).toLocaleString()} clusters
        {of && `: ${page.comes.toLocaleString()} ${page.comes === 1 ? 'comes' : 'come'}, ${page.leaves.toLocaleString()} ${page.leaves === 1 ? 'leaves' : 'leave'}`}.
      </p>
      <div className="tab-head" role="group" aria-label="What it would be">
        {counts.map(([state, count]) => (
          <label key={state} className="chip">
            <input type="checkbox" checked={would === state} onChange={(e) => set({ would: e.currentTarget.checked ? state : undefined, tried: undefined })} />
            <Mark {...marks[state]!} />
            <span>{count.toLocaleString()}</span>
          </label>
        ))}
      </div>
      {page.total === 0 ? (
        <Empty title="No cluster is one of these." />
      ) : (
        <Sheet stacks columns={['Cluster', 'It would be', 'Why']}>
          {page.rows.map((row) => (
            <tr key={row.cluster}>
              <td>
                <Link to={'clusters/' + row.cluster}>{row.cluster}</Link>
              </td>
              <td className="nowrap">
                <Mark {...(marks[row.state] ?? { tone: 'Plain', text: row.state })} /> {row.change && <span className="label">{row.change.toLowerCase()}</span>}
              </td>
              <td className="breaks">{row.because}</td>
            </tr>
          ))}
        </Sheet>
      )}
      <Pages from={page.from} limit={limit} total={page.total} onFrom={(from) => set({ tried: from ? String(from) : undefined })} />
      <h3 className="placing">{of ? 'Make another Placement of it' : 'Make it a Placement'}</h3>
      <div className="filters filters-wrap">
        <Words label="Name of the placement" placeholder="Name, such as production" param="as" resets="tried" plain />
        <Words label="Namespace of the placement" placeholder="Namespace: default" param="in" resets="tried" plain />
        <Deeds deeds={page.deeds} of={`${query.get('in') || 'default'}/${query.get('as')}`} />
      </div>
    </>
  )
}
