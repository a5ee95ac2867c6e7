import react from '@vitejs/plugin-react'
import { defineConfig, type Plugin } from 'vite'

/** What of xterm the policy of the pages forbids, and what is in its place: see src/parts/member/sheet.ts. */
const forbidden: [string, string, number][] = [
  ['createElement("style")', 'createElement("adopted-sheet")', 3],
  ['t.setAttribute("style",`${t.getAttribute("style")||""}${e};`)', 't.style.cssText+=`${e};`', 1],
]

/** Has xterm set its styles through the object model. A version of it that does so in other places is noticed here. */
const strict: Plugin = {
  name: 'xterm-under-a-strict-policy',
  transform(code, id) {
    if (!/@xterm\/xterm\/lib\/xterm\.m?js/.test(id)) return null
    for (const [from, to, times] of forbidden) {
      const parts = code.split(from)
      if (parts.length !== times + 1) this.error(`xterm has ${from} ${parts.length - 1} times, and not ${times}: look anew at how it sets styles`)
      code = parts.join(to)
    }
    return { code, map: null }
  },
}

// What is built here is committed and embedded in the hub: no source maps, and nothing inline, which the policy of the pages forbids.
export default defineConfig({
  base: '/console/',
  plugins: [react(), strict],
  build: {
    outDir: '../internal/console/dist',
    emptyOutDir: true,
    sourcemap: false,
    license: { fileName: 'assets/licenses.md' },
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
})
