import { Button } from '@mantine/core'
import { useEffect, useRef, useState } from 'react'
import { member } from '../../api/client'
import { Failed } from '../states'
import { AsCommand } from '../twin'

/** The end of a container's log, and what is added to it. */
export function Log({ cluster, of, onClose }: { cluster: string; of: string; onClose(): void }) {
  const [namespace = '', pod = '', container = ''] = of.split('/')
  const [lines, setLines] = useState<string[]>([])
  const [error, setError] = useState<unknown>(null)
  const [over, setOver] = useState(false)
  const end = useRef<HTMLPreElement>(null)
  useEffect(() => {
    const stop = new AbortController()
    const follow = async () => {
      const answer = await member(cluster, `/api/v1/namespaces/${namespace}/pods/${pod}/log?container=${container}&follow=true&tailLines=500`, { signal: stop.signal })
      const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
      let rest = ''
      for (;;) {
        const { done, value } = await reader.read()
        if (done) break
        const parts = (rest + value).split('\n')
        rest = parts.pop()!
        setLines((was) => [...was, ...parts].slice(-2000))
      }
      setOver(true)
    }
    follow().catch((e: unknown) => !stop.signal.aborted && setError(e))
    return () => stop.abort()
  }, [cluster, namespace, pod, container])
  useEffect(() => {
    const on = end.current
    if (on && on.scrollHeight - on.scrollTop - on.clientHeight < 200) on.scrollTop = on.scrollHeight
  }, [lines])
  return (
    <section className="log" aria-label={`Log of ${pod}`}>
      <div className="panel-head">
        <h2>
          {pod} <span className="quiet">{container}</span>
        </h2>
        <AsCommand twin={{ umbel: `umbel kubectl ${cluster} -- logs -n ${namespace} ${pod} -c ${container} -f` }} />
        <Button size="xs" variant="default" onClick={onClose}>
          Close
        </Button>
      </div>
      {error ? <Failed error={error} /> : <pre ref={end} tabIndex={0}>{lines.length ? lines.join('\n') : over ? 'It has said nothing.' : 'Waiting for what it says …'}</pre>}
    </section>
  )
}
