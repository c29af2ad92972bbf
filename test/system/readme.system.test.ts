// What README.md shows works: its marked blocks are run against a real visord.
import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { run } from '../../src/host/index.ts'
import { missing } from '../fixtures/machines.ts'
import { type Example, readExamples } from '../fixtures/readme.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'

const root = resolve(import.meta.dirname, '../..')
const examples = await readExamples(join(root, 'README.md'))
/** An image may have to be made from packages first. */
const timeoutMs = 540_000

describe('README.md', { skip: missing('qemu') }, () => {
  let visord: Visord
  let directory: string
  const endings: (() => Promise<unknown>)[] = []

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-readme-'))
    endings.push(() => rm(directory, { recursive: true, force: true }))
    await providePrograms(directory)
    visord = await startVisord({ drivers: ['qemu', 'test:///empty'] })
    endings.push(() => visord.dispose())
    endings.push(() => destroyAll(visord))
  })
  after(async () => {
    for (const end of endings.toReversed()) await end()
  })

  test('has examples to run', () => assert.ok(examples.length > 0))

  for (const example of examples)
    test(`line ${example.line}: ${example.title}`, async () => {
      const { code, stdout, stderr } = await runExample(example, directory, visord)
      assert.equal(code, 0, `It ended with ${code}:\n${stdout}\n${stderr}\n${visord.log()}`)
    })

  test('leaves nothing behind', async () => {
    const connection = await visord.connect()
    assert.deepEqual(await connection.domains.list(), [])
    await connection.close()
  })
})

/** Guests outlive their visord. */
async function destroyAll(visord: Visord): Promise<void> {
  const connection = await visord.connect()
  for (const { uuid } of await connection.domains.list({ states: ['running', 'paused'] }))
    await connection.domains.destroy(uuid)
  await connection.close()
}

/** The programs and the library under the names that the README uses, run from the sources. */
async function providePrograms(directory: string): Promise<void> {
  const programs = { visor: 'src/cli/main.ts', visord: 'src/daemon/main.ts' }
  await mkdir(join(directory, 'bin'))
  for (const [name, path] of Object.entries(programs)) {
    const file = join(directory, 'bin', name)
    await writeFile(file, `#!/bin/sh\nexec '${process.execPath}' '${join(root, path)}' "$@"\n`)
    await chmod(file, 0o755)
  }
  await writeFile(join(directory, 'package.json'), '{ "type": "module" }')
  const library = join(directory, 'node_modules/visor')
  await mkdir(library, { recursive: true })
  const manifest = { name: 'visor', type: 'module', exports: './index.js', types: './index.d.ts' }
  await writeFile(join(library, 'package.json'), JSON.stringify(manifest))
  await writeFile(join(library, 'index.js'), `export * from '${join(root, 'src/index.ts')}'\n`)
}

async function runExample({ language, text, line }: Example, directory: string, { directories }: Visord) {
  const env = {
    ...process.env,
    PATH: `${join(directory, 'bin')}:${process.env.PATH}`,
    VISOR_STATE_DIR: directories.state,
    VISOR_RUNTIME_DIR: directories.runtime,
    VISOR_CONFIG: directories.config,
  }
  const options = { cwd: directory, env, timeoutMs }
  const file = join(directory, `example-${line}.${language}`)
  await writeFile(file, text)
  if (language === 'sh') return run('/bin/sh', ['-eu', file], options)
  await checkTypes(directory, file)
  return run(process.execPath, [file], options)
}

/** An example must be right for the compiler too. */
async function checkTypes(directory: string, file: string): Promise<void> {
  const project = join(directory, 'tsconfig.json')
  const compilerOptions = {
    noEmit: true,
    typeRoots: [join(root, 'node_modules/@types')],
    types: ['node'],
    paths: { visor: [join(root, 'src/index.ts')] },
  }
  const config = { extends: join(root, 'tsconfig.node.json'), compilerOptions, include: [file] }
  await writeFile(project, JSON.stringify(config))
  const { stdout } = await run(
    process.execPath,
    [join(root, 'node_modules/typescript/bin/tsc'), '-p', project],
    {
      timeoutMs,
    },
  )
  // What is wrong in the sources themselves is told by their own check.
  const own = stdout.split('\n').filter((line) => line.includes('example-'))
  assert.deepEqual(own, [], stdout)
}
