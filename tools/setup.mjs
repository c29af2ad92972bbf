// Makes a fresh checkout ready: the runtime, the npm packages, the system packages, the build. Each only when
// it is missing or out of date, so that a second run takes no time.
import { copyFileSync, existsSync, mkdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { isBuilt } from './build.mjs'
import { ChoreError, isProgram, main, root, run, runChecked, step, which } from './run.mjs'
import { ensureSystemPackages } from './system-packages.mjs'

const neededNode = 24

/**
 * Sees to everything that `purpose` needs: `start`, `start-v86`, `test` or `bench`. Gives the Node to run
 * things with and the environment in which it comes first.
 */
export async function setUp(purpose, { build = true } = {}) {
  const node = await ensureRuntime()
  const env = { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}` }
  await ensurePackages(node, env)
  await ensureSystemPackages(purpose)
  if (build && !isBuilt()) await step('Build', () => runChecked(node, ['tools/build.mjs'], { env }))
  return { node, env }
}

/** This Node when it is new enough, else one of our own in .runtime/, which leaves the host's as it is. */
async function ensureRuntime() {
  if (Number.parseInt(process.versions.node, 10) >= neededNode) return process.execPath
  const source = join(root, 'tools/runtime')
  const target = join(root, '.runtime')
  const node = join(target, `node_modules/node-linux-${process.arch}/bin/node`)
  if (existsSync(node) && isInstalled(source, target)) return node
  mkdirSync(target, { recursive: true })
  for (const file of ['package.json', 'package-lock.json'])
    copyFileSync(join(source, file), join(target, file))
  await step(`Node ${neededNode}`, async () => {
    await runNpm(process.execPath, ['ci', '--ignore-scripts'], { cwd: target })
  })
  if (!existsSync(node))
    throw new ChoreError(
      `There is no Node ${neededNode} for ${process.platform} ${process.arch}. Install it.`,
    )
  return node
}

async function ensurePackages(node, env) {
  if (isInstalled(root, root)) return
  // npm runs with the new Node, since it leaves out packages that its own is too old for.
  await step('npm packages', () => runNpm(node, ['ci', '--ignore-scripts'], { env }))
}

/** Whether node_modules holds what the lock file says, by the list that npm itself keeps there. */
function isInstalled(lockFolder, folder) {
  try {
    const wanted = JSON.parse(readFileSync(join(lockFolder, 'package-lock.json'), 'utf8')).packages
    const there = JSON.parse(readFileSync(join(folder, 'node_modules/.package-lock.json'), 'utf8')).packages
    return Object.entries(wanted).every(
      ([path, { version, optional }]) =>
        path === '' || (there[path] ? there[path].version === version : optional),
    )
  } catch {
    return false
  }
}

async function runNpm(node, args, { cwd = root, env = process.env }) {
  const npm = process.env.npm_execpath ?? which('npm')
  if (!npm) throw new ChoreError('npm is not installed. Install it: apt-get install npm')
  // A failed start must not leave a half-filled folder that the next one takes for a whole one; npm sees to it.
  const options = { cwd, env: withoutNpm(env), quiet: true }
  if ((await run(node, [realpathSync(npm), ...args], options)) === 0) return
  rmSync(join(cwd, 'node_modules/.package-lock.json'), { force: true })
  throw new ChoreError(`npm ${args.join(' ')} failed in ${cwd}; what it said stands above.`)
}

/** Without what an `npm start` around us put there: it would be taken for configuration of this one. */
function withoutNpm(env) {
  return Object.fromEntries(
    Object.entries(env).filter(
      ([name]) => !/^npm_(config_local_prefix|package_|lifecycle_|command)/u.test(name),
    ),
  )
}

if (isProgram(import.meta.url)) await main(async () => void (await setUp('start')))
