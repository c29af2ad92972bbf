// The programs and files that do not come from npm: named first, then installed where that is ours to do.
import { existsSync } from 'node:fs'
import { run, step, which } from './run.mjs'

/** What is needed for what, and how one sees that it is there. Names are Debian's and Ubuntu's. */
const packages = [
  { name: 'qemu-system-x86', program: 'qemu-system-x86_64', for: ['start', 'test', 'bench'] },
  { name: 'qemu-utils', program: 'qemu-img', for: ['start', 'test', 'bench'] },
  { name: 'seabios', file: '/usr/share/seabios/bios.bin', for: ['start', 'start-v86', 'test', 'bench'] },
  { name: 'python3', program: 'python3', for: ['test'] },
]

/**
 * Sees to the packages that `purpose` needs. As root on a host with apt it names and installs them; elsewhere
 * it prints the one command to run, and goes on: what needs them says so itself.
 */
export async function ensureSystemPackages(purpose) {
  const missing = findMissing(purpose)
  if (missing.length === 0) return
  const names = missing.map(({ name }) => name)
  const command = `apt-get install --yes --no-install-recommends ${names.join(' ')}`
  if (!which('apt-get')) {
    console.error(`These are missing on this host: ${names.join(', ')} (names as in Debian). Install them.`)
    return
  }
  if (process.getuid() !== 0) {
    console.error(
      `These system packages are missing: ${names.join(', ')}. Install them with:\n\n  sudo ${command}\n`,
    )
    return
  }
  console.error(`These system packages are missing and are installed now: ${names.join(', ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const install = () => run('apt-get', command.split(' ').slice(1), { env, quiet: true })
  await step('System packages', async () => {
    await run('apt-get', ['update'], { env, quiet: true })
    await install()
  })
  const still = findMissing(purpose).map(({ name }) => name)
  if (still.length > 0) console.error(`Still missing: ${still.join(', ')}. Going on without.`)
}

function findMissing(purpose) {
  return packages.filter(
    ({ program, file, for: purposes }) =>
      purposes.includes(purpose) && !(program ? which(program) : existsSync(file)),
  )
}
