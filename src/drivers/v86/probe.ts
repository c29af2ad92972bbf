import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { type Check, type ProbeResult, toVisorError } from '../../model/index.ts'
import { findInstalledSeabios } from '../../storage/index.ts'
import { findMachineProgram, readVersion } from './launch.ts'

/** Whether the embedded machine can run here: it needs its package, its program and a firmware. */
export async function probe(): Promise<ProbeResult> {
  const version = await readVersion().catch(() => undefined)
  const checks = [checkPackage(version), checkProgram(), await checkFirmware()]
  return {
    driver: 'v86',
    available: checks.every(({ status }) => status !== 'fail'),
    ...(version === undefined ? {} : { version }),
    kind: 'emulation',
    hosting: 'library',
    checks,
  }
}

function checkPackage(version: string | undefined): Check {
  const about = { id: 'v86-package', title: 'npm package v86' }
  return version === undefined
    ? { ...about, status: 'fail', detail: 'The package is missing.', remedy: 'Run npm install.' }
    : {
        ...about,
        status: 'pass',
        detail: `Version ${version} is there; it emulates a 32-bit PC in software.`,
      }
}

function checkProgram(): Check {
  const about = { id: 'v86-machine', title: 'Program of the embedded machine' }
  try {
    return { ...about, status: 'pass', detail: `It is ${findMachineProgram()}.` }
  } catch (error) {
    const { message, remedy } = toVisorError(error)
    return { ...about, status: 'fail', detail: message, ...(remedy === undefined ? {} : { remedy }) }
  }
}

async function checkFirmware(): Promise<Check> {
  const about = { id: 'v86-firmware', title: 'Firmware SeaBIOS' }
  if (await findInstalledSeabios())
    return { ...about, status: 'pass', detail: 'It is installed in /usr/share/seabios.' }
  if (await isProgram('apt-get'))
    return {
      ...about,
      status: 'warn',
      detail:
        "It is not installed; the first start fetches it from the distribution's packages, and keeps it.",
      remedy: 'To have it before: apt-get install seabios',
    }
  return {
    ...about,
    status: 'fail',
    detail: 'It is not installed, and there is no apt-get to fetch it with.',
    remedy: "Install the package 'seabios' (on some systems 'seabios-bin').",
  }
}

async function isProgram(name: string): Promise<boolean> {
  for (const directory of (process.env.PATH ?? '').split(delimiter)) {
    const found = await access(join(directory, name), constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return true
  }
  return false
}
