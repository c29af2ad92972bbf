/** One v86 machine: made from a configuration, with what v86 itself does not do. */
// The clock first: v86 takes its time from there when it is loaded.

import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { V86, V86Options } from 'v86'
import { VisorError } from '../../model/index.ts'
import { FileDisk } from './file-disk.ts'
import { guestClock } from './guest-clock.ts'
import type { Internals } from './internals.ts'
import type { MachineConfig } from './machine-config.ts'
import { readState } from './saved-state.ts'
import { readText, takePicture } from './screen.ts'

/** What the guest did. */
export interface EmulatorEvents {
  print(port: number, byte: number): void
  poweredOff(): void
  rebooted(): void
  /** Bytes that are its own only until this returns. */
  sent(packet: Uint8Array): void
}

export interface Emulator {
  readonly disks: ReadonlyMap<string, FileDisk>
  run(): Promise<void>
  stop(): Promise<void>
  type(port: number, bytes: Uint8Array): void
  /** Fails with `invalid-state` when there is none. A guest that does not listen stays as it is. */
  /** A packet for the guest; one that does not run hears nothing. */
  receive(packet: Uint8Array): void
  pressPowerButton(): void
  readText(): string[] | undefined
  takePicture(): Buffer
  /** Only of a machine that is stopped. */
  saveState(): Promise<Uint8Array>
  close(): Promise<void>
}

const ports = [0, 1, 2, 3] as const

/** Makes a machine that does not run yet. Fails with `failed` or `invalid-argument`, telling which file is wrong. */
export async function openEmulator(
  config: MachineConfig,
  events: EmulatorEvents,
  { restore }: { readonly restore?: string } = {},
): Promise<Emulator> {
  const saved = restore === undefined ? undefined : await readState(restore)
  // Before the devices are there: what they count from is the time at which they are restored.
  if (saved) guestClock.set(saved.header.timeMs)
  const disks = new Map(config.disks.map((disk) => [disk.slot, new FileDisk(disk)]))
  try {
    const machine = await loadMachine(config, disks, saved === undefined)
    const internals = machine as unknown as Internals
    addHooks(internals, config, events)
    for (const port of ports)
      machine.add_listener(`serial${port}-output-byte`, (byte) => events.print(port, byte))
    if (config.card) {
      setAddress(internals.v86.cpu.devices, config.card.mac)
      machine.add_listener('net0-send', (packet) => events.sent(packet))
    }
    if (saved) {
      await restoreState(machine, saved.state)
    }
    return wrap(machine, internals, disks)
  } catch (error) {
    for (const disk of disks.values()) disk.close()
    throw error
  }
}

async function loadMachine(
  config: MachineConfig,
  disks: ReadonlyMap<string, FileDisk>,
  boot: boolean,
): Promise<V86> {
  // v86 draws into these; Node has none.
  Object.assign(globalThis, { ImageData: PlainImageData })
  const { V86 } = await import('v86')
  const image = async (file: string) => ({ buffer: new Uint8Array(await readImage(file)).buffer })
  const kernel = boot && config.kernel !== undefined
  const options: V86Options = {
    wasm_path: join(dirname(fileURLToPath(import.meta.resolve('v86'))), 'v86.wasm'),
    memory_size: config.memoryBytes,
    vga_memory_size: config.videoMemoryBytes,
    acpi: config.acpi,
    bios: await image(config.bios),
    vga_bios: await image(config.vgaBios),
    boot_order: config.bootOrder,
    uart1: config.serialLogs.length > 1,
    uart2: config.serialLogs.length > 2,
    uart3: config.serialLogs.length > 3,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    autostart: false,
    ...(kernel && config.kernel !== undefined ? { bzimage: await image(config.kernel) } : {}),
    ...(kernel && config.initrd !== undefined ? { initrd: await image(config.initrd) } : {}),
    ...(kernel ? { cmdline: config.commandLine ?? '' } : {}),
  }
  // Neither is in v86's types: disks of one's own making, and whether there is a network card.
  Object.assign(options, Object.fromEntries(disks), {
    net_device: { type: config.card ? 'ne2k' : 'none' },
    preserve_mac_from_state_image: true,
  })
  return new Promise((resolve) => {
    const machine = new V86(options)
    machine.add_listener('emulator-loaded', () => resolve(machine))
  })
}

/** v86 gives each card an address of its own. */
function setAddress({ net }: Internals['v86']['cpu']['devices'], mac: string): void {
  const bytes = mac.split(':').map((byte) => Number.parseInt(byte, 16))
  net?.mac.set(bytes)
  // The NE2000 has it in its memory, each byte twice.
  for (const [index, byte] of bytes.entries()) net?.memory.fill(byte, 2 * index, 2 * index + 2)
}

async function readImage(file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (cause) {
    throw new VisorError('failed', `The file '${file}' cannot be read: ${(cause as Error).message}.`, {
      cause,
    })
  }
}

async function restoreState(machine: V86, state: ArrayBuffer): Promise<void> {
  try {
    await machine.restore_state(state)
  } catch (cause) {
    throw new VisorError(
      'invalid-argument',
      `The state does not fit the machine: ${(cause as Error).message}.`,
      {
        cause,
      },
    )
  }
}

/** Power management control, written with this bit to sleep, and the kind of sleep that is off (ACPI 4.8.3.2). */
const pm1Control = 0xb004
const sleepEnable = 1 << 13
const sleepTypes = 7 << 10
const powerButton = 1 << 8
const powerInterrupt = 9

function addHooks({ bus, v86 }: Internals, config: MachineConfig, events: EmulatorEvents): void {
  const { cpu } = v86
  // Without power management a guest that is off is one that waits for nothing: a halt without interrupts.
  bus.register('cpu-event-halt', () => {
    if (!config.acpi) events.poweredOff()
  })
  cpu.reboot_internal = () => events.rebooted()
  const sleep = (value: number) => {
    if ((value & (sleepEnable | sleepTypes)) === sleepEnable) events.poweredOff()
  }
  if (config.acpi) {
    const port = cpu.io.ports[pm1Control]
    const write = port?.write16
    if (port && write)
      port.write16 = function (this: unknown, value) {
        write.call(this, value)
        sleep(value)
      }
    addHotplugPorts(cpu.io)
  } else cpu.io.register_write(pm1Control, {}, sleep, sleep, sleep)
  // v86 spins through the last millisecond before each timer of an idle guest: a quarter of a processor.
  v86.yield = function (delayMs, tick) {
    if (delayMs > 0) setTimeout(() => this.yield_callback(tick), Math.max(1, delayMs))
    else setImmediate(() => this.yield_callback(tick))
  }
}

/**
 * The firmware's tables speak of QEMU's PCI hot-plug ports (docs/specs/acpi_pci_hotplug). v86 has none, and
 * what reads as all ones there tells the guest to remove every card.
 */
function addHotplugPorts(io: Internals['v86']['cpu']['io']): void {
  const zero = () => 0
  const ignore = () => {}
  for (const port of [0xae00, 0xae04, 0xae08, 0xae0c]) {
    io.register_read(port, {}, zero, zero, zero)
    io.register_write(port, {}, ignore, ignore, ignore)
  }
}

function wrap(machine: V86, internals: Internals, disks: ReadonlyMap<string, FileDisk>): Emulator {
  const { cpu } = internals.v86
  const stop = async () => {
    if (machine.is_running()) await machine.stop()
    guestClock.stop()
    for (const disk of disks.values()) disk.flush()
  }
  return {
    disks,
    stop,
    async run() {
      guestClock.go()
      await machine.run()
    },
    type(port, bytes) {
      machine.serial_send_bytes(port, bytes)
    },
    receive(packet) {
      if (machine.is_running()) internals.bus.send('net0-receive', packet)
    },
    pressPowerButton() {
      const { acpi } = cpu.devices
      if (!acpi) throw new VisorError('invalid-state', 'The machine has no power button: it is without ACPI.')
      acpi.pm1_status |= powerButton
      if ((acpi.pm1_enable & powerButton) !== 0) cpu.device_raise_irq(powerInterrupt)
    },
    readText: () => readText(cpu.devices.vga, internals.screen_adapter),
    takePicture: () => takePicture(cpu.devices.vga, internals.screen_adapter),
    saveState: async () => new Uint8Array(await machine.save_state()),
    async close() {
      await stop()
      await machine.destroy()
      for (const disk of disks.values()) disk.close()
    },
  }
}

/** As much of the browser's ImageData as v86 needs. */
class PlainImageData {
  readonly data: Uint8ClampedArray
  readonly width: number
  readonly height: number

  constructor(data: Uint8ClampedArray, width: number, height: number) {
    this.data = data
    this.width = width
    this.height = height
  }
}
