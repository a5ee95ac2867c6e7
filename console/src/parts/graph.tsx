import { useComputedColorScheme } from '@mantine/core'
import { useEffect, useRef, useState } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'

export interface Series {
  name: string
  values: (number | null)[]
}

const light = ['#146c50', '#0b5cad', '#b27408', '#8a3ffc', '#b3261e', '#00757f', '#6a5d00', '#a2245e']
const dark = ['#5cc79b', '#79b6f2', '#f0b84a', '#c3a6ff', '#ff8f86', '#5ecbd6', '#d8cb62', '#f29cc3']

/** Series over time. Lines differ in dashes too, and the values under the pointer stand below as text. */
export default function Graph({ times, series, unit, label }: { times: number[]; series: Series[]; unit: (value: number) => string; label: string }) {
  const box = useRef<HTMLDivElement>(null)
  const scheme = useComputedColorScheme('light')
  const [at, setAt] = useState<number | null>(null)
  const colours = scheme === 'dark' ? dark : light
  useEffect(() => {
    const element = box.current
    if (!element) return
    const style = getComputedStyle(element)
    const ink = style.getPropertyValue('--ink-2')
    const line = style.getPropertyValue('--line')
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line }, font: '12px sans-serif' }
    const plot = new uPlot(
      {
        width: element.clientWidth,
        height: 260,
        legend: { show: false },
        cursor: { y: false },
        hooks: { setCursor: [(u) => setAt(u.cursor.idx ?? null)] },
        axes: [axis, { ...axis, size: 70, values: (_, ticks) => ticks.map((t) => unit(t)) }],
        series: [{}, ...series.map((_, i) => ({ stroke: colours[i % colours.length], width: 1.6, dash: i < colours.length ? undefined : [6, 4], spanGaps: false, points: { show: false } }))],
      },
      [times, ...series.map((s) => s.values)] as uPlot.AlignedData,
      element,
    )
    const sized = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: 260 }))
    sized.observe(element)
    return () => {
      sized.disconnect()
      plot.destroy()
    }
  }, [times, series, colours, unit])
  const shown = at ?? times.length - 1
  return (
    <figure className="graph" aria-label={label}>
      <div ref={box} />
      <figcaption>
        <ul className="graph-legend">
          {series.map((s, i) => (
            <li key={s.name}>
              <svg width="18" height="8" aria-hidden="true">
                <line x1="0" y1="4" x2="18" y2="4" stroke={colours[i % colours.length]} strokeWidth="2.5" strokeDasharray={i < colours.length ? undefined : '5 3'} />
              </svg>
              <span>{s.name}</span>
              <span className="num">{s.values[shown] == null ? '–' : unit(s.values[shown]!)}</span>
            </li>
          ))}
        </ul>
        <span className="quiet small">{times[shown] ? new Date(times[shown]! * 1000).toLocaleTimeString() : ''}</span>
      </figcaption>
    </figure>
  )
}
