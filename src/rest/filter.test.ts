import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { VisorError } from '../model/index.ts'
import { matches, parseFilter } from './filter.ts'

const domains = [
  { name: 'web1', state: 'running', memoryKiB: 1024, autostart: true, nested: { deep: 'x' } },
  { name: 'web2', state: 'paused', memoryKiB: 2048, autostart: false },
  { name: 'a, "b"|c', state: 'shutoff', memoryKiB: 4096, autostart: false, title: 'one' },
]
const select = (filter: string) => domains.filter(parseFilter(filter)).map(({ name }) => name)

const cases: readonly [filter: string, names: readonly string[]][] = [
  ['state==running', ['web1']],
  ['state!=running', ['web2', 'a, "b"|c']],
  ['state==running|paused', ['web1', 'web2']],
  ['state==running,name~web*', ['web1']],
  ['name~web?', ['web1', 'web2']],
  ['name!~web*', ['a, "b"|c']],
  ['memoryKiB>=2048', ['web2', 'a, "b"|c']],
  ['memoryKiB<2048', ['web1']],
  ['memoryKiB>=2MiB', ['web2', 'a, "b"|c']],
  ['memoryKiB>2parsecs', []],
  ['memoryKiB>1024,memoryKiB<=2048', ['web2']],
  ['memoryKiB>nonsense', []],
  ['autostart==true', ['web1']],
  ['name=="web1"', ['web1']],
  ['name~"a, *"', ['a, "b"|c']],
  ['nested.deep==x', ['web1']],
  ['title==', []],
  ['title!=one', ['web1', 'web2']],
  ['constructor==x', []],
]
for (const [filter, names] of cases) test(`filter ${filter}`, () => assert.deepEqual(select(filter), names))

const wrong: readonly [filter: string, column: number][] = [
  ['', 1],
  ['state', 6],
  ['state=running', 6],
  ['==running', 1],
  ['state==running,', 16],
  ['name=="web', 7],
  ['name=="web"1', 12],
  ['colour==red', 1],
]
for (const [filter, column] of wrong)
  test(`filter ${filter} is refused at column ${column}`, () => {
    assert.throws(
      () => parseFilter(filter, ['state', 'name']),
      (error) => error instanceof VisorError && error.code === 'invalid-argument' && error.column === column,
    )
  })

test('any text is a filter or is refused, and never takes long', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
      try {
        domains.filter(parseFilter(text))
      } catch (error) {
        assert.ok(error instanceof VisorError)
      }
    }),
  )
})

test('a pattern means what the same regular expression means', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?'), maxLength: 12 })
  fc.assert(
    fc.property(letters, letters, (pattern, text) => {
      const expression = pattern.replace(/\*/gu, '.*').replace(/\?/gu, '.')
      assert.equal(matches(pattern, text), new RegExp(`^${expression}$`, 'u').test(text))
    }),
  )
})

test('a pattern made to take long does not', () => {
  assert.equal(matches('*a'.repeat(500), 'a'.repeat(400)), false)
})
