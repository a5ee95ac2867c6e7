// Package console tells the story of somebody who looks after a fleet in a browser: a real hub with real clusters, and
// Chromium, which Playwright drives (console/test/*.mjs). Each page is looked at at two widths, in light and dark, searched for
// what keeps people out (axe), and photographed for docs/console/. It needs root and the tag e2e.
package console
