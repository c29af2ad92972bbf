// The package as its users have it: packed, installed in an empty project, compiled against and run.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { type RunResult, run } from '../../src/host/index.ts'
import { missing } from '../fixtures/machines.ts'

const root = resolve(import.meta.dirname, '../..')
const timeoutMs = 60_000

const program = `import { connect, VisorError } from 'visor'

const connection = await connect(uri)
for (const { name, state } of await connection.domains.list()) console.log(name, state)
try {
  await connection.domains.get('absent')
} catch (error) {
  if (!(error instanceof VisorError)) throw error
  const code: 'not-found' | undefined = error.code === 'not-found' ? error.code : undefined
  console.log(code)
}
await connection.close()
`

describe('the package', {
  skip: !existsSync(join(root, 'dist/index.js')) && 'there is no build of it',
}, () => {
  let project: string
  let files: readonly string[]
  let unreachable: string | undefined

  before(async () => {
    project = await mkdtemp(join(tmpdir(), 'visor-package-'))
    // `npm run package` would build anew; here the build that is there is tested.
    const packed = await npm(['pack', '--json', '--ignore-scripts', '--pack-destination', project], root)
    assert.equal(packed.code, 0, packed.stderr)
    // A list, or since npm 12 an object by name.
    const [entry] = Object.values(JSON.parse(packed.stdout) as Record<string, PackedEntry>)
    assert.ok(entry)
    const { filename, files: found } = entry
    files = found.map(({ path }) => path)
    await writeFile(join(project, 'package.json'), '{ "private": true, "type": "module" }\n')
    const offline = ['--prefer-offline', '--fetch-retries=0', '--fetch-timeout=15000']
    const installed = await npm(['install', ...offline, `./${filename}`], project)
    unreachable = /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH)\b/u.exec(
      installed.stderr,
    )?.[1]
    if (!unreachable) assert.equal(installed.code, 0, installed.stderr)
  })
  after(() => rm(project, { recursive: true, force: true }))

  const needsInstall = (title: string, body: (t: TestContext) => Promise<void>) =>
    test(title, async (t) => {
      if (unreachable) return t.skip(`the npm registry cannot be reached: ${unreachable}`)
      return body(t)
    })

  test('has what its users need, and nothing else', () => {
    for (const file of ['LICENSE', 'README.md', 'bin/visor.js', 'dist/index.js', 'dist/LICENSES.txt'])
      assert.ok(files.includes(file), file)
    assert.ok(files.includes('dist/types/index.d.ts'))
    assert.deepEqual(
      files.filter(
        (file) => !/^(bin|dist|docs|packaging)\/|^(LICENSE|README\.md|package\.json)$/u.test(file),
      ),
      [],
    )
    assert.deepEqual(
      files.filter((file) => /\.map$|\.test\.|\/\.|[^d]\.ts$/u.test(file)),
      [],
    )
  })

  for (const [module, moduleResolution] of [
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ])
    for (const types of [[], ['node']])
      needsInstall(
        `has types for ${moduleResolution}${types.length > 0 ? ' with those of Node' : ''}`,
        async () => {
          await writeFile(join(project, 'main.ts'), `const uri: string = ''\n${program}`)
          const options = { strict: true, noEmit: true, target: 'esnext', skipLibCheck: false }
          const typeRoots = [join(root, 'node_modules/@types')]
          const compilerOptions = { ...options, module, moduleResolution, types, typeRoots }
          await writeFile(
            join(project, 'tsconfig.json'),
            JSON.stringify({ compilerOptions, files: ['main.ts'] }),
          )
          const { code, stdout } = await node([join(root, 'node_modules/typescript/bin/tsc'), '-p', project])
          assert.equal(code, 0, stdout)
        },
      )

  for (const [uri, driver] of [['test:///default'], ['qemu:///system', 'qemu']] as const)
    needsInstall(`connects to ${uri}`, async (t) => {
      const reason = driver && missing(driver)
      if (reason) return t.skip(reason)
      const file = join(project, `${uri.split(':')[0]}.ts`)
      await writeFile(file, `const uri = '${uri}'\n${program}`)
      const { code, stdout, stderr } = await node([file])
      assert.equal(code, 0, stderr)
      assert.match(stdout, uri.startsWith('test') ? /^test running\nnot-found\n$/u : /^not-found\n$/u)
    })

  needsInstall('has its programs', async () => {
    for (const [name, argument] of [
      ['visor', 'version'],
      ['visord', '--version'],
    ] as const) {
      const { code, stdout, stderr } = await run(
        join(project, 'node_modules/.bin', name),
        [argument],
        options(),
      )
      assert.equal(code, 0, stderr)
      assert.match(stdout, new RegExp(`^${name} \\d+\\.\\d+\\.\\d+`, 'u'))
    }
  })

  function options() {
    const PATH = `${dirname(process.execPath)}:${process.env.PATH}`
    // What an `npm test` around us put there would be taken for configuration of this project.
    const own = Object.entries(process.env).filter(([name]) => !name.startsWith('npm_'))
    const env = {
      ...Object.fromEntries(own),
      PATH,
      VISOR_STATE_DIR: join(project, 'state'),
      VISOR_RUNTIME_DIR: join(project, 'run'),
    }
    return { cwd: project, env, timeoutMs }
  }

  async function npm(args: readonly string[], cwd: string): Promise<RunResult> {
    return run('npm', [...args, '--no-audit', '--no-fund'], { ...options(), cwd })
  }

  const node = (args: readonly string[]) => run(process.execPath, args, options())
})

interface PackedEntry {
  readonly filename: string
  readonly files: readonly { readonly path: string }[]
}
