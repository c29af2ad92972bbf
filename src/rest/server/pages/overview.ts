import { html } from './html.ts'
import { overviewScript } from './overview-script.ts'
import { overviewStyle } from './overview-style.ts'
import { pageResponse, sign } from './page.ts'

/** The page at `/`: the guests of this host and their states, live. Says nothing before the login. */
export function overviewPage(version: string): Response {
  return pageResponse({ title: 'visor', body: body(version), style: overviewStyle, script: overviewScript })
}

const body = (version: string) => html`<header class="bar">
${sign}<strong>visor</strong><span class="muted" id="hostname"></span>
<span class="push pill" id="link"><span class="dot"></span><span id="link-text">connecting</span></span>
<a class="small" href="/docs">API</a>
<button id="logout" hidden>Log out</button>
</header>
<main>
<form class="card login" id="login" hidden>
<h1>Log in</h1>
<p class="muted">This page needs the token of visord. On its host it is in <code>/var/lib/visor/token</code>, or in the file <code>token</code> of another state directory.</p>
<label class="small" for="token">Token</label>
<input id="token" type="password" autocomplete="off" spellcheck="false" required>
<p class="error" id="login-error" role="alert" hidden></p>
<button class="main">Log in</button>
</form>
<section id="overview" hidden>
<div class="tiles" id="tiles"></div>
<div class="head"><h2>Machines</h2><span class="muted small" id="count"></span>
<input id="search" type="search" placeholder="Find by name" aria-label="Find by name"></div>
<p class="card error" id="failure" role="alert" hidden></p>
<div class="card wide" id="domains-card"><table>
<thead><tr><th>Name</th><th>State</th><th>Driver</th><th class="number">CPUs</th><th class="number">Memory</th><th>Since</th><th></th></tr></thead>
<tbody id="domains"></tbody></table></div>
<div class="card empty" id="empty" hidden>
<h3>No machines yet</h3>
<p class="muted">The first one is a command away:</p>
<pre>visor create first --image micro --console</pre></div>
<div class="head"><h2>Events</h2><span class="muted small">as they happen</span></div>
<ol class="card events" id="events"><li class="muted" id="no-events">Nothing has happened since this page was opened.</li></ol>
</section>
<noscript><p class="card empty">This page needs JavaScript. Without it, use <code>visor list</code> or the <a href="/docs">API</a>.</p></noscript>
</main>
<footer class="muted small">visor ${version}</footer>`
