import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { eachDomain } from '../each-domain.ts'
import { addExamples } from '../help.ts'

interface Flags {
  readonly undefine?: boolean
  readonly start?: boolean
}

export function configure(command: Command, context: Context): void {
  command
    .description('Keep machines from being undefined or started, until the protection is taken away.')
    .argument('<domains...>', 'names or uuids')
    .option('--undefine', 'from being undefined; also what is meant without any flag')
    .option('--start', 'from being started')
    .option('--no-undefine', 'may be undefined again')
    .option('--no-start', 'may be started again')
    .action(async (domains: string[], { undefine, start }: Flags) => {
      const wanted = {
        ...(undefine === undefined && start === undefined ? { undefine: true } : {}),
        ...(undefine === undefined ? {} : { undefine }),
        ...(start === undefined ? {} : { start }),
      }
      const said = Object.entries(wanted).map(([verb, on]) => `${on ? 'protected from' : 'open to'} ${verb}`)
      await eachDomain(context, domains, {
        doing: 'Protecting',
        done: `is ${said.join(' and ')}`,
        run: ({ connection, name, call }) => connection.domains.setProtection(name, { ...call, ...wanted }),
      })
    })
  addExamples(command, [
    ['visor protect web', 'nobody undefines it by mistake'],
    ['visor protect web --start', 'nor starts it, such as while its disk is copied'],
    ['visor protect web --no-undefine --no-start', 'as before'],
  ])
}
