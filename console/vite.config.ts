import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// What is built here is committed and embedded in the hub: no source maps, and nothing inline, which the policy of the pages forbids.
export default defineConfig({
  base: '/console/',
  plugins: [react()],
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
