/**
 * The policy of the page lets no style be put in by a script as text of the page. xterm makes <style> elements: in what is built those are this
 * element instead (vite.config.ts), whose text is a sheet that the document adopts, as the policy allows to scripts that it trusts.
 */
class Sheet extends HTMLElement {
  private sheet = new CSSStyleSheet()

  override set textContent(text: string) {
    this.sheet.replaceSync(text)
  }

  connectedCallback() {
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, this.sheet]
  }

  disconnectedCallback() {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((s) => s !== this.sheet)
  }
}

if (!customElements.get('adopted-sheet')) customElements.define('adopted-sheet', Sheet)
