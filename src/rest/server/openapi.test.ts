import assert from 'node:assert/strict'
import { test } from 'node:test'
import { operationList } from '../../driver/index.ts'
import { routes } from '../routes.ts'
import { type OpenApi, openApiDocument } from './openapi.ts'
import { docsPage } from './pages/docs.ts'

const document: OpenApi = JSON.parse(JSON.stringify(openApiDocument('1.2.3')))
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
)

function visit(value: unknown, see: (key: string, value: unknown) => void): void {
  if (typeof value !== 'object' || value === null) return
  for (const [key, inner] of Object.entries(value)) {
    see(key, inner)
    visit(inner, see)
  }
}

test('every reference leads somewhere, and every noun is used', () => {
  const references = new Set<string>()
  visit(document, (key, value) => {
    if (key === '$ref') references.add(String(value))
  })
  for (const reference of references) {
    let at: unknown = document
    for (const step of reference.replace(/^#\//u, '').split('/')) at = (at as Record<string, unknown>)[step]
    assert.equal(typeof at, 'object', reference)
  }
  for (const name of Object.keys(document.components.schemas))
    assert.ok(references.has(`#/components/schemas/${name}`), `${name} is used`)
})

test('every operation is there once, with what a reader needs', () => {
  const ids = operations.map(({ operation }) => operation.operationId)
  assert.equal(new Set(ids).size, ids.length)
  for (const { name } of operationList) assert.ok(ids.includes(name), name)
  const tags = document.tags.map(({ name }) => name)
  for (const { operation, path, method } of operations) {
    const where = `${method} ${path}`
    assert.match(operation.summary, /\.$/u, where)
    assert.ok(
      operation.tags.every((tag) => tags.includes(tag)),
      where,
    )
    assert.ok(
      Object.keys(operation.responses).some((status) => /^[12]/u.test(status)),
      where,
    )
    assert.ok('default' in operation.responses, where)
    const inPath = [...path.matchAll(/\{(\w+)\}/gu)].map(([, name]) => name)
    const given = (operation.parameters ?? []).flatMap((parameter) =>
      parameter.in === 'path' ? [parameter.name] : [],
    )
    assert.deepEqual(given, inPath, where)
  }
})

test('what is served is what is documented', () => {
  for (const { method, path } of routes)
    assert.ok(document.paths[path]?.[method.toLowerCase() as 'get'], `${method} ${path}`)
})

test('the page for people leads to every operation and every noun', async () => {
  const text = await docsPage(openApiDocument('1.2.3')).text()
  for (const { operation } of operations)
    assert.ok(text.includes(`id="op-${operation.operationId}"`), operation.operationId)
  const ids = new Set([...text.matchAll(/ id="([^"]+)"/gu)].map(([, id]) => id))
  for (const [, target] of text.matchAll(/href="#([^"]+)"/gu)) assert.ok(ids.has(target), `#${target}`)
  assert.equal(/(?:src|href)="(?:https?:)?\/\/.{0,60}/u.exec(text)?.[0], undefined, 'nothing from outside')
  // Not by doesNotMatch, which would print the whole page.
  assert.equal(/.{0,60}(?:\[object|undefined).{0,20}/u.exec(text)?.[0], undefined)
})
