import react from '@vitejs/plugin-react'
import { defineConfig, type Plugin } from 'vite'

/** What of libraries the policy of the pages forbids, and what is in its place. */
const forbidden: { file: RegExp; parts: [string, string, number][] }[] = [
  {
    file: /@xterm\/xterm\/lib\/xterm\.m?js/,
    parts: [
      ['createElement("style")', 'createElement("adopted-sheet")', 3], // see src/parts/member/sheet.ts
      ['t.setAttribute("style",`${t.getAttribute("style")||""}${e};`)', 't.style.cssText+=`${e};`', 1],
    ],
  },
  // CodeMirror's styles: it has the document adopt a sheet only where that is the root of a shadow.
  { file: /style-mod\/src\/style-mod\.js/, parts: [['!root.head && root.adoptedStyleSheets', 'root.adoptedStyleSheets', 1]] },
]

/** Has libraries set their styles through the object model. A version of one that does so in other places is noticed here. */
const strict: Plugin = {
  name: 'libraries-under-a-strict-policy',
  transform(code, id) {
    const found = forbidden.find(({ file }) => file.test(id))
    if (!found) return null
    for (const [from, to, times] of found.parts) {
      const parts = code.split(from)
      if (parts.length !== times + 1) this.error(`${id} has ${from} ${parts.length - 1} times, and not ${times}: look anew at how it sets styles`)
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
