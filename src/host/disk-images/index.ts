export { badImage, type ImageBytes, type ImageHeader, readImageHeader } from './image-headers.ts'
export { type ImageLook, probeBytes, probeImage } from './image-probe.ts'
export { createOverlay, type OverlayBase } from './qcow2-overlay.ts'
