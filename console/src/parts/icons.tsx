import type { ReactNode } from 'react'

function Icon({ children, size = 16 }: { children: ReactNode; size?: number }) {
  return (
    <svg className="icon" width={size} height={size} viewBox="0 0 16 16" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false">
      {children}
    </svg>
  )
}

const shapes = {
  good: <><circle cx="8" cy="8" r="6.2" fill="currentColor" stroke="none" /><path d="m5.2 8.2 2 2 3.6-4.2" stroke="var(--on-tone)" /></>,
  bad: <><path d="M5.4 1.8h5.2l3.6 3.6v5.2l-3.6 3.6H5.4l-3.6-3.6V5.4z" fill="currentColor" stroke="none" /><path d="m5.8 5.8 4.4 4.4m0-4.4-4.4 4.4" stroke="var(--on-tone)" /></>,
  doubtful: <><circle cx="8" cy="8" r="6" strokeDasharray="2.6 2.1" /><path d="M6.2 6.3c.2-1 1-1.6 1.9-1.5 1 .1 1.7.8 1.7 1.7 0 1.3-1.7 1.4-1.7 2.6M8.1 11.2v.1" /></>,
  waiting: <><circle cx="8" cy="8" r="6" /><path d="M8 4.6V8l2.2 1.6" /></>,
  asleep: <path d="M13.4 9.6A5.8 5.8 0 0 1 6.4 2.6a5.8 5.8 0 1 0 7 7z" fill="currentColor" />,
  moving: <><path d="M13.5 8A5.5 5.5 0 1 1 11.6 3.8" /><path d="M11.8 1.4v2.6H9.2" /></>,
  fleet: <><rect x="2" y="2" width="5" height="5" rx="1" /><rect x="9" y="2" width="5" height="5" rx="1" /><rect x="2" y="9" width="5" height="5" rx="1" /><rect x="9" y="9" width="5" height="5" rx="1" /></>,
  clusters: <><rect x="2" y="2.5" width="12" height="4.5" rx="1" /><rect x="2" y="9" width="12" height="4.5" rx="1" /><path d="M4.6 4.8h.1M4.6 11.3h.1" /></>,
  packages: <><path d="m8 1.8 5.5 3v6.4l-5.5 3-5.5-3V4.8z" /><path d="m2.7 4.9 5.3 3 5.3-3M8 8v6" /></>,
  placements: <><circle cx="8" cy="8" r="5.8" /><circle cx="8" cy="8" r="2" fill="currentColor" /><path d="M8 .8v2.6M8 12.6v2.6M.8 8h2.6M12.6 8h2.6" /></>,
  search: <><circle cx="7" cy="7" r="4.6" /><path d="m10.6 10.6 3.4 3.4" /></>,
  metrics: <path d="M1.8 12.8 5.4 8l2.8 2.6 5.6-7" />,
  alerts: <><path d="M8 1.8a4 4 0 0 0-4 4c0 4-1.6 5-1.6 5h11.2S12 9.8 12 5.8a4 4 0 0 0-4-4z" /><path d="M6.7 13.4a1.4 1.4 0 0 0 2.6 0" /></>,
  audit: <><path d="M4 1.8h6l2.8 2.8v9.6H4z" /><path d="M6 7h4.5M6 9.5h4.5M6 12h2.5" /></>,
  access: <><circle cx="5.5" cy="8" r="3.2" /><path d="M8.7 8h5.5v2.4M11.8 8v1.8" /></>,
  settings: <><path d="M2 4.5h6M11.5 4.5H14M2 11.5h2.5M8 11.5h6" /><circle cx="9.7" cy="4.5" r="1.7" /><circle cx="6.2" cy="11.5" r="1.7" /></>,
  copy: <><rect x="5.5" y="5.5" width="8.5" height="8.5" rx="1.3" /><path d="M10.5 3.2V3A1.2 1.2 0 0 0 9.3 1.8H3.2A1.4 1.4 0 0 0 1.8 3.2v6.1A1.2 1.2 0 0 0 3 10.5h.2" /></>,
  terminal: <><rect x="1.8" y="2.5" width="12.4" height="11" rx="1.5" /><path d="m4.5 6 2 2-2 2M8.5 10.2h3" /></>,
  menu: <path d="M2 4h12M2 8h12M2 12h12" />,
  sun: <><circle cx="8" cy="8" r="2.8" /><path d="M8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3 3l1.2 1.2M11.8 11.8 13 13M3 13l1.2-1.2M11.8 4.2 13 3" /></>,
  moon: <path d="M13.4 9.6A5.8 5.8 0 0 1 6.4 2.6a5.8 5.8 0 1 0 7 7z" />,
  person: <><circle cx="8" cy="5.2" r="2.7" /><path d="M2.8 14c.5-2.9 2.5-4.4 5.2-4.4s4.7 1.5 5.2 4.4" /></>,
  chevron: <path d="m6 3.5 4.5 4.5L6 12.5" />,
  pause: <path d="M5.5 3v10M10.5 3v10" />,
  play: <path d="m4.5 2.8 8 5.2-8 5.2z" />,
  back: <><path d="M5.5 3 2.2 6.3l3.3 3.3" /><path d="M2.5 6.3h7.2a4 4 0 0 1 0 8H7" /></>,
}

export type Shape = keyof typeof shapes

export function Sign({ shape, size }: { shape: Shape; size?: number }) {
  return <Icon size={size}>{shapes[shape]}</Icon>
}
