import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { VisorError } from '../../model/index.ts'
import { routes } from '../routes.ts'
import { createRouter } from './router.ts'

const router = createRouter<string>()
router.add('GET', '/', 'root')
router.add('GET', '/v1/domains', 'list')
router.add('POST', '/v1/domains', 'define')
router.add('GET', '/v1/domains/{domain}', 'get')
router.add('GET', '/v1/domains/{domain}/definition', 'describe')
router.add('GET', '/v1/domains/all', 'all')

const cases: readonly [method: string, path: string, found: unknown][] = [
  ['GET', '/', { value: 'root', parameters: {} }],
  ['GET', '/v1/domains', { value: 'list', parameters: {} }],
  ['HEAD', '/v1/domains', { value: 'list', parameters: {} }],
  ['POST', '/v1/domains', { value: 'define', parameters: {} }],
  ['DELETE', '/v1/domains', { allow: ['GET', 'POST'] }],
  ['GET', '/v1/domains/web', { value: 'get', parameters: { domain: 'web' } }],
  ['GET', '/v1/domains/all', { value: 'all', parameters: {} }],
  ['GET', '/v1/domains/w%C3%A9b%20%2F/definition', { value: 'describe', parameters: { domain: 'wéb /' } }],
  ['GET', '/v1', undefined],
  ['GET', '/v1/domains/web/', undefined],
  ['GET', '/v2/domains', undefined],
  ['GET', '', undefined],
]
for (const [method, path, found] of cases)
  test(`${method} ${path || '(nothing)'}`, () => assert.deepEqual(router.find(method, path), found))

for (const path of ['/v1/domains/%ff', '/v1/domains/%', '/v1/domains/'])
  test(`${path} cannot be read`, () => {
    assert.throws(
      () => router.find('GET', path),
      (error) => error instanceof VisorError && error.code === 'invalid-argument',
    )
  })

test('any name survives its way through a path', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (name) => {
      const found = router.find('GET', `/v1/domains/${encodeURIComponent(name)}/definition`)
      assert.deepEqual(found, { value: 'describe', parameters: { domain: name } })
    }),
  )
})

test('no two operations share a place', () => {
  const places = routes.map(({ method, path }) => `${method} ${path}`)
  assert.equal(new Set(places).size, places.length)
})
