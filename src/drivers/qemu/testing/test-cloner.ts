/**
 * A daemon for tests, to be killed: makes a template of the domain it is told, clones of that, a pool, and
 * removes all of it, for ever, and says on stdout what has been acknowledged.
 */
import { openTestDriver } from './test-daemon.ts'

async function cloneForEver(directory: string, domain: string): Promise<void> {
  const { domains, templates } = await openTestDriver(directory)
  const step = async <T>(name: string, work: Promise<T>): Promise<T> => {
    process.stdout.write(`begin ${name}\n`)
    const result = await work
    process.stdout.write(`done ${name}\n`)
    return result
  }
  for (let round = 0; ; round++) {
    const template = `t${process.pid}-${round}`
    await step('create', templates.create(template, { domain }))
    await step('pool', templates.setPool(template, { size: 2 }))
    const clones = await step('clone', templates.clone(template, { count: 2 }))
    const more = await step('clone', templates.clone(template, { count: 1 }))
    for (const { uuid } of [...clones, ...more]) {
      await step('destroy', domains.destroy(uuid))
      await step('undefine', domains.undefine(uuid))
    }
    await step('remove', templates.remove(template))
  }
}

/** This program: its arguments are the directory and the domain. */
export const clonerProgram = import.meta.filename

const [, , directory, domain] = process.argv
if (import.meta.main && directory && domain) await cloneForEver(directory, domain)
