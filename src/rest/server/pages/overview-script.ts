/**
 * What runs in the page at `/`. It makes elements and sets their text, never markup, so that no name of a
 * guest can become code; the page's policy forbids the other way.
 */
export const overviewScript = `'use strict'
const $ = (id) => document.getElementById(id)
const looks = { running: 'good', paused: 'warn', blocked: 'good', shutdown: 'info', crashed: 'bad', pmsuspended: 'warn' }
const words = { shutoff: 'off', shutdown: 'shutting down', pmsuspended: 'asleep' }
const state = { domains: [], usage: new Map(), working: new Set(), operations: new Set(), access: 'read', source: undefined }

function make(tag, className, ...children) {
  const element = document.createElement(tag)
  if (className) element.className = className
  element.append(...children)
  return element
}

async function api(method, path, body, headers) {
  const response = await fetch(path, {
    method,
    headers: { accept: 'application/json', ...(body && { 'content-type': 'application/json' }), ...headers },
    body: body && JSON.stringify(body),
  })
  const text = await response.text()
  const value = text ? JSON.parse(text) : undefined
  if (response.ok) return value
  const failure = new Error(value && value.detail ? value.detail : 'HTTP status ' + response.status)
  failure.status = response.status
  failure.remedy = value && value.remedy
  throw failure
}

function link(look, text) {
  $('link').className = 'push pill ' + look
  $('link-text').textContent = text
}

function tell(failure) {
  if (failure && failure.status === 401) return showLogin()
  $('failure').hidden = !failure
  if (failure) $('failure').textContent = failure.message + (failure.remedy ? ' ' + failure.remedy : '')
}

function showLogin(message) {
  if (state.source) state.source.close()
  state.source = undefined
  $('overview').hidden = true
  $('logout').hidden = true
  $('login').hidden = false
  $('login-error').hidden = !message
  $('login-error').textContent = message || ''
  link('', 'not logged in')
  $('token').focus()
}

async function logIn(token) {
  await api('POST', '/v1/session', undefined, { authorization: 'Bearer ' + token })
}

async function begin() {
  const fragment = new URLSearchParams(location.hash.slice(1)).get('token')
  if (fragment) {
    history.replaceState(null, '', location.pathname)
    await logIn(fragment).catch(() => {})
  }
  try {
    await open()
  } catch (failure) {
    if (failure.status === 401) showLogin(fragment ? 'The token in the address is not valid.' : '')
    else {
      link('bad', 'not connected')
      $('overview').hidden = false
      tell(failure)
      setTimeout(begin, 3000)
    }
  }
}

async function open() {
  const about = await api('GET', '/v1')
  state.operations = new Set(about.operations)
  state.access = about.login.access
  $('login').hidden = true
  $('overview').hidden = false
  $('logout').hidden = false
  listen()
  await Promise.all([readHost(), readDomains()])
}

function listen() {
  if (state.source) state.source.close()
  const source = (state.source = new EventSource('/v1/events'))
  source.onopen = () => { link('good', 'live'); readDomains().catch(tell) }
  source.onerror = () => {
    link('warn', 'reconnecting')
    if (source.readyState === 2 && state.source === source) setTimeout(begin, 2000)
  }
  source.onmessage = (message) => {
    const event = JSON.parse(message.data)
    if (event.kind !== 'job') addEvent(event)
    if (event.kind !== 'job' || event.type !== 'progress') soon()
  }
}

let timer
function soon() {
  if (!timer) timer = setTimeout(() => { timer = undefined; readDomains().catch(tell); readHost().catch(() => {}) }, 80)
}

async function readHost() {
  const host = await api('GET', '/v1/host')
  $('hostname').textContent = host.hostname
  document.title = host.hostname + ' · visor'
  state.host = host
  showTiles()
}

async function readDomains() {
  state.domains = await api('GET', '/v1/domains')
  tell()
  showDomains()
  showTiles()
}

async function readUsage() {
  if (document.hidden || $('overview').hidden || !state.operations.has('domains.stats')) return
  const now = performance.now()
  const stats = await api('GET', '/v1/domain-stats')
  const usage = new Map()
  for (const one of stats) {
    const before = state.usage.get(one.uuid)
    const passed = before ? (now - before.at) * 1e6 : 0
    const share = passed > 0 && one.cpuTimeNs >= before.cpuTimeNs ? (one.cpuTimeNs - before.cpuTimeNs) / passed : undefined
    usage.set(one.uuid, { at: now, cpuTimeNs: one.cpuTimeNs || 0, share: share === undefined ? undefined : Math.min(1, share / Math.max(1, one.vcpus.length)) })
  }
  state.usage = usage
  showDomains()
}

const gib = (kib) => kib >= 1048576 ? (kib / 1048576).toFixed(kib % 1048576 ? 1 : 0) + ' GiB' : Math.round(kib / 1024) + ' MiB'

function ago(time) {
  const seconds = Math.max(0, (Date.now() - new Date(time)) / 1000)
  if (seconds < 60) return 'just now'
  if (seconds < 3600) return Math.floor(seconds / 60) + ' min'
  if (seconds < 86400) return Math.floor(seconds / 3600) + ' h ' + Math.floor((seconds % 3600) / 60) + ' min'
  return Math.floor(seconds / 86400) + ' d'
}

function meter(className, share) {
  const fill = document.createElement('i')
  fill.style.width = Math.round(share * 100) + '%'
  return make('span', className, fill)
}

function tile(title, value, note, share) {
  const element = make('dl', 'card tile', make('dt', '', title), make('dd', '', value), make('div', 'note', note))
  element.style.margin = '0'
  if (share !== undefined) { const bar = meter('meter', share); bar.style.display = 'block'; element.append(bar) }
  return element
}

function showTiles() {
  const host = state.host
  if (!host) return
  const up = state.domains.filter((domain) => domain.state !== 'shutoff' && domain.state !== 'crashed')
  const used = host.memoryKiB - host.freeMemoryKiB
  const vcpus = up.reduce((sum, domain) => sum + domain.vcpus, 0)
  $('tiles').replaceChildren(
    tile('Machines running', up.length + ' of ' + state.domains.length, state.domains.length ? 'defined on this host' : 'none defined yet', state.domains.length ? up.length / state.domains.length : 0),
    tile('Memory used', gib(used), 'of ' + gib(host.memoryKiB), used / host.memoryKiB),
    tile('Processors', String(host.cpus), vcpus + ' virtual in use', Math.min(1, vcpus / host.cpus)),
    tile('Host', host.arch, (host.cpuModel ? host.cpuModel + ' · ' : '') + 'Linux ' + host.kernel),
  )
}

const verbs = {
  shutoff: [['start', 'Start']],
  crashed: [['start', 'Start']],
  running: [['shutdown', 'Shut down'], ['suspend', 'Pause'], ['destroy', 'Power off']],
  blocked: [['shutdown', 'Shut down'], ['suspend', 'Pause'], ['destroy', 'Power off']],
  paused: [['resume', 'Resume'], ['destroy', 'Power off']],
  shutdown: [['destroy', 'Power off']],
  pmsuspended: [['destroy', 'Power off']],
}

async function act(domain, verb, title) {
  if (verb === 'destroy' && !confirm('Take the power of ' + domain.name + ' away? What it has not written to disk is lost.')) return
  state.working.add(domain.uuid)
  showDomains()
  let failure
  try {
    await api('POST', '/v1/domains/' + encodeURIComponent(domain.uuid) + '/' + verb)
  } catch (caught) {
    failure = caught
  }
  state.working.delete(domain.uuid)
  await readDomains().catch(tell)
  if (failure) tell(failure)
}

function row(domain) {
  const name = make('td', '', make('span', 'name', domain.name), make('span', 'uuid', domain.uuid))
  if (domain.title) name.title = domain.title
  const pill = make('span', 'pill ' + (looks[domain.state] || ''), make('span', 'dot'), words[domain.state] || domain.state)
  if (domain.message) pill.title = domain.message
  const usage = state.usage.get(domain.uuid)
  const cpu = make('td', 'number', String(domain.vcpus))
  if (usage && usage.share !== undefined) { cpu.append(meter('bar-cell', usage.share)); cpu.title = Math.round(usage.share * 100) + ' % of its processors busy' }
  const actions = make('div', 'actions')
  for (const [verb, title] of verbs[domain.state] || []) {
    if (!state.operations.has('domains.' + verb) || state.access === 'read') continue
    const button = make('button', verb === 'start' || verb === 'resume' ? 'main' : '', title)
    button.dataset.key = domain.uuid + verb
    button.disabled = state.working.has(domain.uuid)
    button.onclick = () => act(domain, verb, title)
    actions.append(button)
  }
  return make('tr', state.working.has(domain.uuid) ? 'working' : '', name, make('td', '', pill), make('td', 'muted', domain.driver), cpu,
    make('td', 'number', gib(domain.memoryKiB)), make('td', 'muted', domain.startedAt ? ago(domain.startedAt) : ''), make('td', '', actions))
}

function showDomains() {
  const wanted = $('search').value.trim().toLowerCase()
  const shown = state.domains.filter((domain) => domain.name.toLowerCase().includes(wanted))
  const most = 500
  const focus = document.activeElement && document.activeElement.dataset.key
  $('domains').replaceChildren(...shown.slice(0, most).map(row))
  const again = focus && [...document.querySelectorAll('#domains button')].find((button) => button.dataset.key === focus)
  if (again) again.focus()
  $('domains-card').hidden = state.domains.length === 0
  $('search').hidden = state.domains.length === 0
  $('empty').hidden = state.domains.length > 0
  $('count').textContent = shown.length > most ? 'the first ' + most + ' of ' + shown.length : state.domains.length ? String(shown.length) : ''
}

const eventLooks = { started: 'good', resumed: 'good', crashed: 'bad', suspended: 'warn', stopping: 'info', defined: 'info' }

function addEvent(event) {
  $('no-events').hidden = true
  const time = make('time', '', new Date(event.time).toLocaleTimeString([], { hour12: false }))
  const what = event.message || (event.name || event.uuid || event.kind) + (event.reason && event.reason !== 'unknown' ? ' (' + event.reason + ')' : '')
  $('events').prepend(make('li', '', time, make('span', '', make('span', 'pill ' + (eventLooks[event.type] || ''), event.type)), make('span', '', what)))
  while ($('events').children.length > 13) $('events').lastElementChild.previousElementSibling.remove()
}

$('login').onsubmit = async (event) => {
  event.preventDefault()
  try {
    await logIn($('token').value.trim())
    $('token').value = ''
    await open()
  } catch (failure) {
    showLogin(failure.status === 401 ? 'That token is not valid.' : failure.message)
  }
}
$('logout').onclick = async () => { await api('DELETE', '/v1/session').catch(() => {}); showLogin() }
$('search').oninput = showDomains
setInterval(() => readUsage().catch(() => {}), 3000)
setInterval(() => { if (!document.hidden && !$('overview').hidden) showDomains() }, 30000)
begin()
`
