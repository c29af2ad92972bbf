import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { configureDeviceFile } from '../device-file.ts'

export function configure(command: Command, context: Context): void {
  configureDeviceFile(command, context, 'attachDevice', {
    description: 'Plug a device in that a file describes.',
    example: 'now and at the next start',
  })
}
