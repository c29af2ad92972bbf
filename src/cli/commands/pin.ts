import type { Command } from 'commander'
import { VisorError } from '../../model/index.ts'
import { type AffectFlags, addAffectFlags } from '../affect.ts'
import { changeDomain } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'

export function configure(command: Command, context: Context): void {
  command
    .description('Say on which processors of the host a thread of a machine runs.')
    .argument('<domain>', 'name or uuid')
    .argument('<thread>', "'vcpu0', 'iothread1' and so on, or 'emulator' for the others")
    .argument('[cpus]', "processors of the host, as '0-3,^2'; all that the machine may run on without")
  addAffectFlags(command).action(
    async (domain: string, thread: string, cpuset: string | undefined, flags: AffectFlags) => {
      const which = threadOf(thread)
      await changeDomain(context, domain, {
        doing: `Pinning ${thread} of`,
        flags,
        async run({ connection, call }) {
          await connection.domains.setPin(domain, { ...call, ...which, ...(cpuset ? { cpuset } : {}) })
          return cpuset ? `runs ${thread} on ${cpuset}` : `runs ${thread} anywhere it may`
        },
      })
    },
  )
  addExamples(command, [
    ['visor pin web vcpu0 2', 'its first processor on the third of the host'],
    ['visor pin web emulator 0-1 --live --config', 'what is no processor, now and at the next start'],
    ['visor pin web vcpu0', 'anywhere again'],
  ])
}

function threadOf(thread: string) {
  const [, kind, number = ''] = /^(vcpu|iothread)(\d{1,4})$/u.exec(thread) ?? []
  if (kind !== undefined) return { [kind]: Number(number) }
  if (thread === 'emulator') return { emulator: true }
  throw new VisorError('invalid-argument', `'${thread}' is no thread of a machine.`, {
    remedy: "Name 'vcpu0', 'iothread1' and so on, or 'emulator'.",
  })
}
