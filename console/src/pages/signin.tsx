import { Alert, Button, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { read, signIn } from '../api/client'
import { Command } from '../parts/twin'
import logo from '../umbel.svg'

/** The door: the identity providers that the hub trusts, or a token. */
export function SignIn({ why, onIn }: { why: string; onIn: () => void }) {
  const ways = useQuery({ queryKey: ['ways'], queryFn: ({ signal }) => read('/api/ways', {}, undefined, signal), staleTime: 60_000 })
  const [token, setToken] = useState('')
  const [wrong, setWrong] = useState('')
  const [busy, setBusy] = useState(false)
  const to = window.location.pathname + window.location.search
  return (
    <main className="door">
      <div className="door-card">
        <div className="door-head">
          <img src={logo} alt="" width="40" height="40" />
          <div>
            <h1>Umbel</h1>
            <p className="quiet">Sign in to this hub</p>
          </div>
        </div>
        {why && (
          <Alert color="yellow" role="status">
            {why[0]?.toUpperCase() + why.slice(1)}.
          </Alert>
        )}
        {ways.data?.issuers.map((issuer) => (
          <Button key={issuer} component="a" fullWidth href={'/console/login?' + new URLSearchParams({ issuer, to }).toString()}>
            Sign in with {new URL(issuer).host}
          </Button>
        ))}
        {ways.data && ways.data.issuers.length > 0 && <p className="door-or">or with a token</p>}
        <form
          onSubmit={(event) => {
            event.preventDefault()
            setBusy(true)
            setWrong('')
            signIn(token).then(
              () => onIn(),
              (error: unknown) => {
                setBusy(false)
                setWrong(error instanceof Error ? error.message : String(error))
              },
            )
          }}
        >
          <TextInput
            label="Token"
            description="Of a ServiceAccount of the hub, or an ID token"
            type="password"
            autoComplete="off"
            value={token}
            onChange={(event) => setToken(event.currentTarget.value)}
            error={wrong || undefined}
          />
          <Button type="submit" fullWidth variant={ways.data?.issuers.length ? 'default' : 'filled'} loading={busy} disabled={!token.trim()}>
            Sign in with the token
          </Button>
        </form>
        <details className="door-help">
          <summary>How do I get a token?</summary>
          <p>Whoever administers the hub makes one:</p>
          <Command text="kubectl create token NAME -n NAMESPACE --duration 8h" />
          <p>It is not kept: the session that it begins says who you are, and ends after eight hours at the latest.</p>
        </details>
        {ways.data && <p className="quiet door-version">Umbel {ways.data.version}</p>}
      </div>
    </main>
  )
}
