import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { read } from '../api/client'
import type { AlertRow } from '../api/types'
import { AlertMark, alertKey } from '../parts/alert'
import { Title } from '../parts/frame'
import { askedFor, Facets, Filters, Listing } from '../parts/listing'
import { Empty } from '../parts/states'
import { Age } from '../parts/status'
import { Command } from '../parts/twin'
import { editing, EditAsYaml } from '../parts/paper'
import { Link, usePlace } from '../router'

const limit = 50

const titles: Record<string, string> = { severity: 'Severity', state: 'State', cluster: 'Cluster', alert: 'Alert' }

/** What the hub's rules alert of: where, since when, and what to do next. */
export default function AlertsPage() {
  const { query } = usePlace()
  const ask = askedFor(query, limit)
  const list = useQuery({
    queryKey: ['alerts', ask.toString()],
    queryFn: ({ signal }) => read('/api/alerts', {}, ask, signal),
    placeholderData: keepPreviousData,
    refetchInterval: 15_000,
  })
  const [facets, setFacets] = useState(false)
  const data = list.data
  return (
    <>
      <Title
        actions={<EditAsYaml of={{ resource: 'prometheusrules.monitoring.coreos.com', namespace: 'umbel-system' }} text="New rule from YAML" />}
        note={data && (data.all === 0 ? 'None fires' : `${data.firing.toLocaleString()} firing, ${(data.all - data.firing).toLocaleString()} pending`)}
        twin={{ umbel: 'umbel status', kubectl: `curl -H "Authorization: Bearer $TOKEN" "${window.location.origin}/api/v1/alerts"` }}
      >
        Alerts
      </Title>
      <Filters label="Filter alerts" placeholder="Name, cluster, label, or what it says" facets={{ open: facets, toggle: () => setFacets(!facets) }} />
      <div className={data && data.all > 0 ? 'split' : undefined}>
        {data && data.all > 0 && <Facets facets={data.facets} open={facets} title={(facet) => titles[facet] ?? facet} />}
        <div>
          <Listing
            list={list}
            limit={limit}
            stacks
            columns={['Alert', 'What', 'Where', 'Since']}
            empty={({ all, rules }) =>
              all > 0 ? (
                <Empty title="No alert matches.">Take a filter away, or search for less.</Empty>
              ) : (
                <Empty title={rules > 0 ? `${rules} rules look after the fleet, and none of them has anything to say.` : 'No rule looks after the fleet.'}>
                  <p>Rules are PrometheusRule objects in the hub’s namespace umbel-system; those that the hub brings can be changed or deleted.</p>
                  <Command text="kubectl get prometheusrules.monitoring.coreos.com -n umbel-system" />
                </Empty>
              )
            }
          >
            {({ rows }) => rows.map((row) => <Alert key={alertKey(row)} row={row} />)}
          </Listing>
        </div>
      </div>
    </>
  )
}

function Alert({ row }: { row: AlertRow }) {
  return (
    <tr>
      <td className="nowrap">
        <AlertMark row={row} />
        <div className="row-why">
          <Link to={`alerts?${new URLSearchParams({ 'f.alert': row.name })}`}>{row.name}</Link>
        </div>
      </td>
      <td className="alert-what">
        <p>{row.summary}</p>
        {row.description && <p className="quiet small">{row.description}</p>}
        {row.command && <Command text={row.command} />}
        <p className="alert-links small">
          <Link to={`metrics?${new URLSearchParams({ query: row.query })}`}>What it looks at</Link>
          {row.runbook && (
            <a href={row.runbook} target="_blank" rel="noreferrer noopener">
              Runbook
            </a>
          )}
          <span className="quiet">
            from <Link to={editing({ resource: 'prometheusrules.monitoring.coreos.com', namespace: 'umbel-system', name: row.rule })}>{row.rule}</Link>
          </span>
        </p>
      </td>
      <td>
        {row.cluster ? <Link to={`clusters/${row.cluster}`} className="strong">{row.cluster}</Link> : <span className="quiet">the fleet</span>}
        {row.package && (
          <div>
            <Link to={`packages/${row.package}`}>{row.package}</Link>
          </div>
        )}
        <div>
          {Object.entries(row.labels)
            .slice(0, 6)
            .map(([k, v]) => (
              <span key={k} className="label">
                {k}={v}
              </span>
            ))}
        </div>
      </td>
      <td className="nowrap">
        <Age of={row.since} />
      </td>
    </tr>
  )
}
