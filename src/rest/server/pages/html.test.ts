import assert from 'node:assert/strict'
import { test } from 'node:test'
import { html, raw } from './html.ts'
import { overviewPage } from './overview.ts'

test('what is put into HTML is text', () => {
  const hostile = `"><script>alert('x')</script>&`
  assert.equal(
    html`<p title="${hostile}">${[hostile, 1]}${undefined}${false}${raw('<b>')}</p>`.text,
    '<p title="&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;">&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;1<b></p>',
  )
})

test('a page runs only its own script, named by a nonce that is new each time', async () => {
  const [one, two] = [overviewPage('1.2.3'), overviewPage('1.2.3')]
  const nonces = [one, two].map(
    ({ headers }) => /script-src 'nonce-([^']+)'/u.exec(headers.get('content-security-policy') ?? '')?.[1],
  )
  assert.ok(nonces[0] && nonces[1] && nonces[0] !== nonces[1])
  const text = await one.text()
  const scripts = [...text.matchAll(/<script([^>]*)>/gu)]
  assert.deepEqual(
    scripts.map(([, attributes]) => attributes),
    [` nonce="${nonces[0]}"`],
  )
  assert.doesNotMatch(text, / on\w+="| style="/u, 'the policy forbids what stands in attributes')
  const script = /<script[^>]*>([\s\S]*)<\/script>/u.exec(text)?.[1] ?? ''
  assert.doesNotMatch(script, /innerHTML|insertAdjacentHTML|document\.write|eval\(/u)
  // Parses it, without running it.
  assert.doesNotThrow(() => new Function(script))
})
