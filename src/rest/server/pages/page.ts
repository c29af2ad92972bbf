import { type Html, html, raw } from './html.ts'
import { style } from './style.ts'

export interface Page {
  readonly title: string
  readonly body: Html
  /** Style of this page, after the common one. */
  readonly style: string
  readonly script: string
}

/**
 * A whole page in one answer. Its policy lets nothing run or load but its own script and style, and lets it
 * speak to this server only.
 */
export function pageResponse(page: Page): Response {
  const nonce = crypto.randomUUID()
  const policy = [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; ')
  return new Response(document(page, nonce).text, {
    headers: { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': policy },
  })
}

const icon =
  'data:image/svg+xml,%3Csvg xmlns=%22http://www.w3.org/2000/svg%22 viewBox=%220 0 32 32%22%3E%3Crect width=%2232%22 height=%2232%22 rx=%228%22 fill=%22%233455db%22/%3E%3Cpath d=%22M7 10h18l-3 12H10z%22 fill=%22none%22 stroke=%22white%22 stroke-width=%222.6%22 stroke-linejoin=%22round%22/%3E%3Cpath d=%22M11 15h10%22 stroke=%22white%22 stroke-width=%222.6%22 stroke-linecap=%22round%22/%3E%3C/svg%3E'

function document(page: Page, nonce: string): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${page.title}</title>
<link rel="icon" href="${raw(icon)}">
<style nonce="${nonce}">${raw(style)}${raw(page.style)}</style>
</head>
<body>
${page.body}
<script nonce="${nonce}">${raw(page.script)}</script>
</body>
</html>
`
}

/** The sign of visor, as it stands in the head of each page. */
export const sign = html`<svg class="sign" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" fill="var(--accent)"/><path d="M7 10h18l-3 12H10z" fill="none" stroke="var(--on-accent)" stroke-width="2.6" stroke-linejoin="round"/><path d="M11 15h10" stroke="var(--on-accent)" stroke-width="2.6" stroke-linecap="round"/></svg>`
