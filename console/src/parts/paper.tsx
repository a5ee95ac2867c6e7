import { Button } from '@mantine/core'
import { Link } from '../router'
import type { Paper } from './review'

/** Where an object is written. */
export const editing = ({ resource, namespace, name }: Paper) =>
  name ? ['edit', resource, namespace, name].filter(Boolean).map((p) => encodeURIComponent(p!)).join('/') : `new/${resource}${namespace ? '?' + new URLSearchParams({ namespace }).toString() : ''}`

/** Leads to where an object is written. */
export function EditAsYaml({ of, text = of.name ? 'Edit as YAML' : 'New from YAML', small, about }: { of: Paper; text?: string; small?: boolean; about?: string }) {
  return (
    <Button component={Link} to={editing(of)} size={small ? 'compact-xs' : 'xs'} variant="default" className={small ? 'beside-name' : undefined} aria-label={about ? `${text}: ${about}` : undefined}>
      {text}
    </Button>
  )
}

/** Where an object of a member is read. */
export const reading = (cluster: string, kind: string, name: string, namespace?: string) => `objects/${cluster}?` + new URLSearchParams({ kind, name, ...(namespace ? { namespace } : {}) }).toString()
