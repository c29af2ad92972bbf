// npm run check: everything that can be told without running the product. With --write, format and generated
// documents are mended first.
import { ChoreError, isProgram, main, run } from './run.mjs'
import { setUp } from './setup.mjs'

const module = (name) => `node_modules/${name}`

const checks = [
  { title: 'types', args: [module('typescript/bin/tsc'), '-p', 'tsconfig.node.json'] },
  { title: 'types of the pure folders', args: [module('typescript/bin/tsc'), '-p', 'tsconfig.pure.json'] },
  { title: 'format and lint', args: [module('@biomejs/biome/bin/biome'), 'ci', '--colors=off', '.'] },
  { title: 'unused code', args: [module('knip/bin/knip.js'), '--no-progress'] },
  { title: 'generated documents', args: ['tools/generate-docs.ts', '--check'] },
]

/** Runs all checks, one after the other: each uses every processor itself. Fails naming those that failed. */
export async function check({ node, env }) {
  const failed = []
  for (const { title, args } of checks) {
    const started = performance.now()
    const code = await run(node, args, { env, quiet: true })
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    console.error(`check ${title}: ${code === 0 ? 'ok' : 'FAILED'} (${seconds} s)`)
    if (code !== 0) failed.push(title)
  }
  if (failed.length > 0) throw new ChoreError(`Checks that failed: ${failed.join(', ')}.`)
}

const mends = [[module('@biomejs/biome/bin/biome'), 'check', '--write', '.'], ['tools/generate-docs.ts']]

if (isProgram(import.meta.url))
  await main(async () => {
    const runtime = await setUp('check', { build: false })
    if (process.argv.includes('--write'))
      for (const args of mends) await run(runtime.node, args, { env: runtime.env, quiet: true })
    await check(runtime)
  })
