/** The pages that visord serves, in a real browser. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { noBrowser, openPage, type Page } from '../fixtures/browser.ts'
import { type Served, serveApi } from '../rest/served.ts'

const skip = noBrowser ?? false
const hostile = `<img src=x onerror="window.hacked=1">`
let served: Served
let page: Page

before(async () => {
  if (skip) return
  served = await serveApi('tcp', 'test:///default?domains=3&running=1')
  await served.connection.domains.define({ type: 'test', name: hostile, title: hostile, memoryKiB: 65_536 })
  page = await openPage()
})
after(async () => {
  await page?.close()
  await served?.close()
})

const row = (name: string) =>
  `[...document.querySelectorAll('#domains tr')].find((row) => row.querySelector('.name').textContent === ${JSON.stringify(name)})`
const button = (name: string, title: string) =>
  `[...${row(name)}.querySelectorAll('button')].find((button) => button.textContent === '${title}')`

test('the page asks for a login, and shows nothing before it', { skip }, async () => {
  await page.go(served.address)
  await page.until(`!document.getElementById('login').hidden`)
  assert.equal(await page.evaluate(`document.querySelectorAll('#domains tr').length`), 0)
  await page.evaluate(
    `document.getElementById('token').value = 'wrong', document.getElementById('login').requestSubmit()`,
  )
  await page.until(`!document.getElementById('login-error').hidden`)
})

test('a token in the address logs in, and is gone from the address', { skip }, async () => {
  await page.go('about:blank')
  await page.go(`${served.address}/#token=token-of-an-admin`)
  await page.until(`document.querySelectorAll('#domains tr').length === 5`)
  assert.equal(await page.evaluate('location.hash'), '')
  assert.equal(await page.evaluate('document.cookie'), '', 'No script sees the cookie.')
})

test('states are live, and buttons work', { skip }, async () => {
  await page.until(`document.getElementById('link-text').textContent === 'live'`)
  await served.connection.domains.start('guest-0003')
  await page.until(`${row('guest-0003')}.textContent.includes('running')`)
  await page.evaluate(`${button('guest-0003', 'Pause')}.click()`)
  await page.until(`${row('guest-0003')}.textContent.includes('paused')`)
  assert.equal((await served.connection.domains.get('guest-0003')).state, 'paused')
  await page.until(`document.getElementById('events').textContent.includes('suspended')`)
})

test('a page that lost its server finds it again', { skip }, async () => {
  await served.restart(async () => {
    await served.connection.domains.resume('guest-0003')
  })
  await page.until(
    `document.getElementById('link-text').textContent === 'live' && ${row('guest-0003')}.textContent.includes('running')`,
  )
})

test('a name that is markup stays a text', { skip }, async () => {
  assert.equal(await page.evaluate(`${row(hostile)} !== undefined`), true)
  assert.equal(await page.evaluate('window.hacked === undefined'), true)
})

test('logging out ends the session', { skip }, async () => {
  await page.evaluate(`document.getElementById('logout').click()`)
  await page.until(`!document.getElementById('login').hidden`)
  assert.equal(await page.evaluate(`fetch('/v1/domains').then(({ status }) => status)`), 401)
})

test('the page of the API finds what one looks for', { skip }, async () => {
  await page.go(`${served.address}/docs`)
  await page.until(`document.readyState === 'complete' && document.querySelector('article')`)
  const count = `[...document.querySelectorAll('main article')].filter((card) => !card.hidden).length`
  const all = await page.evaluate<number>(count)
  await page.evaluate(`find.value = 'screenshot', find.dispatchEvent(new Event('input'))`)
  const found = await page.evaluate<number>(count)
  assert.ok(found >= 1 && found < all)
})

test('no script failed, and the policy had nothing to refuse', { skip }, () => {
  // The answers 401 and the lost connection were wanted.
  const unexpected = page.faults.filter(
    (fault) => !/\b401\b|ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY/u.test(fault),
  )
  assert.deepEqual(unexpected, [])
})
