// npm test: sets everything up, checks, then runs every test. With paths, only the tests there and no checks:
//   npm test -- src/model            all tests under a folder
//   npm test -- src/model --watch    options go to node --test
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { check } from './check.mjs'
import { ChoreError, main, root, run } from './run.mjs'
import { setUp } from './setup.mjs'

const folders = ['src', 'test', 'tools']

/** All files of tests under the paths; units first, since they tell soonest. */
function findTests(paths) {
  const files = paths.flatMap((path) => {
    if (!existsSync(join(root, path))) throw new ChoreError(`There is no '${path}'.`)
    if (!statSync(join(root, path)).isDirectory()) return [path]
    return readdirSync(join(root, path), { recursive: true }).map((name) => join(path, name))
  })
  const tests = [...new Set(files.filter((file) => file.endsWith('.test.ts')))].sort()
  const isSystem = (file) => file.endsWith('.system.test.ts')
  return [...tests.filter((file) => !isSystem(file)), ...tests.filter(isSystem)]
}

await main(async () => {
  const args = process.argv.slice(2)
  const options = args.filter((arg) => arg.startsWith('-'))
  const paths = args.filter((arg) => !arg.startsWith('-'))
  const setup = await setUp('test')
  const tests = findTests(paths.length > 0 ? paths : folders.filter((name) => existsSync(join(root, name))))
  if (tests.length === 0) throw new ChoreError(`There are no tests in ${paths.join(', ')}.`)
  // Checked first, told last: a fault of style must not hide what the tests say.
  const faults =
    paths.length > 0
      ? undefined
      : await check(setup).then(
          () => undefined,
          (error) => error,
        )
  // Once for all processes of the run: the micro guest (the test of its build builds its own), and compiled code.
  const shared = mkdtempSync(join(tmpdir(), 'visor-test-run-'))
  const env = {
    ...{ VISOR_TEST_IMAGES: join(shared, 'images'), NODE_COMPILE_CACHE: join(shared, 'code') },
    ...setup.env,
  }
  const code = await run(
    setup.node,
    [
      '--test',
      // A guest keeps one processor busy, so more at once would only make each slower.
      `--test-concurrency=${Math.max(2, Math.floor(availableParallelism() / 2))}`,
      '--test-reporter=spec',
      '--test-timeout=600000',
      ...options,
      ...tests,
    ],
    { env },
  ).finally(() => rmSync(shared, { recursive: true, force: true }))
  if (!faults) return code
  console.error(faults.message)
  return code || 1
})
