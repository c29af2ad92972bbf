/**
 * The parts of v86 that its own types do not tell, as they are in the version package.json pins. Properties
 * keep their names in its bundled form.
 */

/** One layer of a picture: a rectangle of a buffer, and where it goes on the screen. */
export interface Layer {
  readonly image_data: { readonly data: Uint8ClampedArray; readonly width: number; readonly height: number }
  readonly screen_x: number
  readonly screen_y: number
  readonly buffer_x: number
  readonly buffer_y: number
  readonly buffer_width: number
  readonly buffer_height: number
}

export interface Vga {
  readonly graphical_mode: boolean
  readonly svga_enabled: boolean
  readonly svga_width: number
  readonly svga_height: number
  readonly screen_width: number
  readonly screen_height: number
  readonly image_data: Layer['image_data']
  readonly layers: readonly Layer[]
  readonly max_cols: number
  readonly max_rows: number
  readonly max_scan_line: number
  /** Where fonts are kept in text modes: 32 bytes a character. */
  readonly plane2: Uint8Array
  /** Draws what has changed since the last time. */
  screen_fill_buffer(): void
  /** Calls `put_char` of the screen for every character. */
  text_mode_redraw(): void
}

export interface Screen {
  put_char(
    row: number,
    column: number,
    character: number,
    flags: number,
    background: number,
    foreground: number,
  ): void
}

/** Power management of the PIIX4. */
export interface Acpi {
  pm1_status: number
  readonly pm1_enable: number
}

type Read = () => number
type Write = (value: number) => void

/** An NE2000. It keeps its address where the guest reads it too. */
export interface Card {
  readonly mac: Uint8Array
  readonly memory: Uint8Array
}

export interface Cpu {
  readonly devices: {
    readonly vga: Vga
    readonly acpi?: Acpi
    readonly net?: Card
  }
  readonly io: {
    readonly ports: { write16: Write }[]
    register_read(port: number, device: object, read8: Read, read16: Read, read32: Read): void
    register_write(port: number, device: object, write8: Write, write16: Write, write32: Write): void
  }
  device_raise_irq(irq: number): void
  reboot_internal(): void
}

/** What `V86` has beside its published interface. */
export interface Internals {
  readonly bus: {
    register(name: string, listener: () => void): void
    send(name: string, value: unknown): void
  }
  readonly screen_adapter: Screen
  readonly v86: {
    readonly cpu: Cpu
    yield(delayMs: number, tick: number): void
    yield_callback(tick: number): void
  }
}
