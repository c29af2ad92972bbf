/**
 * The same definition on libvirt's command line and on ours: each difference has an entry in explanations.ts,
 * which says why, and docs/qemu-command-line.md is made from it. A difference without one fails here.
 *
 * To add a case: put `test/fixtures/golden/NAME.xml` there, with a uuid, and with addresses of hardware for
 * network cards; then, where libvirt is installed, run
 *
 *     VISOR_RECORD=1 node --test src/drivers/qemu/golden/golden.system.test.ts
 *
 * which writes `NAME.argv` beside it, and run this test: it prints the differences that are not explained.
 * Mend what is poorer than libvirt's; explain what is as good or better.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hostFiles, readHugePages } from '../../../host/index.ts'
import { differencesOf, goldenCases } from './cases.ts'
import { explain, explanations } from './explanations.ts'

const hasHugePages = readHugePages(hostFiles()).some(({ sizeKiB }) => sizeKiB === 2048)
const used = new Set<unknown>()

for (const one of goldenCases())
  test(`every difference from libvirt is explained: ${one.name}`, {
    skip: one.xml.includes('<hugepages') && !hasHugePages && 'this kernel has no huge pages of 2 MiB',
  }, async () => {
    const unexplained = (await differencesOf(one)).filter((difference) => {
      const found = explain(difference)
      for (const each of found) used.add(each)
      return found.length === 0
    })
    assert.deepEqual(unexplained, [])
  })

test('every explanation explains something', () => {
  assert.deepEqual(
    explanations.filter((one) => !used.has(one)).map(({ what }) => what),
    [],
  )
})
