// Bundles src/ into dist/: the two programs, the library and its types.
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { removeUnusedTypes, writeLicences } from './package-parts.mjs'
import { ChoreError, isProgram, main, root, run } from './run.mjs'

const stampFile = join(root, 'dist/.stamp')

/** What is built, by the name of its file in dist/. */
const entryPoints = {
  visor: 'src/cli/main.ts',
  visord: 'src/daemon/main.ts',
  'host-bridge': 'src/network/host-bridge/mover.ts',
  'first-run': 'src/first-run/main.ts',
  'v86-machine': 'src/drivers/v86/machine-process.ts',
  index: 'src/index.ts',
}

/** Whether dist/ was made from the sources as they are. */
export function isBuilt() {
  return existsSync(stampFile) && readFileSync(stampFile, 'utf8') === fingerprint()
}

/** A digest over all that the build depends on. */
function fingerprint() {
  const hash = createHash('sha256')
  const sources = readdirSync(join(root, 'src'), { recursive: true })
    .filter((name) => /\.[a-z]+$/u.test(name) && !name.includes('.test.'))
    .map((name) => join(root, 'src', name))
    .filter((file) => statSync(file).isFile())
  const others = [join(root, 'package-lock.json'), fileURLToPath(import.meta.url)]
  for (const file of [...sources.sort(), ...others])
    hash.update(relative(root, file)).update('\0').update(readFileSync(file)).update('\0')
  return hash.digest('hex')
}

async function build() {
  const stamp = fingerprint()
  rmSync(stampFile, { force: true })
  rmSync(join(root, 'dist/types'), { recursive: true, force: true })
  const [{ metafile }] = await Promise.all([bundle(), declareTypes()])
  removeUnusedTypes(join(root, 'dist/types'))
  writeLicences(root, Object.keys(metafile.inputs), join(root, 'dist/LICENSES.txt'))
  removeOld(Object.keys(metafile.outputs))
  writeFileSync(stampFile, stamp)
}

/**
 * Removes chunks of earlier builds; not the latest ones, which a daemon that runs may still load, unless all
 * must go: what is published has none.
 */
function removeOld(outputs) {
  const all = process.argv.includes('--publish')
  const folder = 'dist/chunks'
  for (const name of existsSync(join(root, folder)) ? readdirSync(join(root, folder)) : []) {
    const file = join(root, folder, name)
    const ageMs = Date.now() - statSync(file).mtimeMs
    if (!outputs.includes(`${folder}/${name}`) && (all || ageMs > 24 * 60 * 60 * 1000)) rmSync(file)
  }
}

async function bundle() {
  const { build: bundleAll } = await import('esbuild')
  return bundleAll({
    metafile: true,
    absWorkingDir: root,
    entryPoints: Object.entries(entryPoints).map(([out, path]) => ({ out, in: path })),
    outdir: 'dist',
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    sourcemap: true,
    sourcesContent: false,
    legalComments: 'none',
    // koffi finds its binary, and v86 its WebAssembly, beside themselves.
    external: ['koffi', 'v86'],
    // Packages written for require() ask for Node's own modules with it.
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
    logLevel: 'warning',
  }).catch(() => {
    throw new ChoreError('The sources could not be bundled; see what esbuild said above.')
  })
}

/** The library's types. What does not type-check is told by tools/check.mjs, not here. */
async function declareTypes() {
  const args = ['node_modules/typescript/bin/tsc', ...['-p', 'tsconfig.types.json']]
  await run(process.execPath, args, { quiet: true })
  if (!existsSync(join(root, 'dist/types/index.d.ts')))
    throw new ChoreError('The types of the library were not written; see what tsc said above.')
}

if (isProgram(import.meta.url)) await main(build)
