/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Numbered packets (core/numbered.c) go out as broadcasts with an Ethernet type of their own; a
 * peer that sends each back (to any address) lets the witness count what was lost, came twice or
 * out of order. Beside that, ARP and ICMP echo requests for the address given by ip= are answered
 * (netstack.c), so that ping works.
 */
#include "net.h"
#include "../core/numbered.h"
#include "insn.h"
#include "virtio.h"

#define FEATURE_MAC  (1u << 5)
#define RX_BUFFERS   64
#define TX_BUFFERS   64
#define BUFFER_BYTES 2048

static struct {
	struct witness *w;
	struct pulse_device *out; /* NULL: there is no device */
	struct virtq rx, tx;
	uint8_t *rx_buffer, *tx_buffer;
	bool tx_busy[TX_BUFFERS];
	unsigned int head_bytes; /* virtio-net header: shorter for legacy devices */
	uint8_t mac[6];
	struct numbered_window numbered;
} net;

static int free_buffer(void)
{
	for (int i = 0; i < TX_BUFFERS; i++)
		if (!net.tx_busy[i])
			return i;
	return -1;
}

/* Sends what lies behind the virtio-net header of a free buffer. */
static void transmit(int buffer, uint32_t bytes)
{
	uint8_t *at = net.tx_buffer + buffer * BUFFER_BYTES;

	memset(at, 0, net.head_bytes);
	net.tx.desc[buffer] = (struct virtq_desc){(uintptr_t)at, net.head_bytes + bytes, 0, 0};
	net.tx_busy[buffer] = true;
	virtq_offer(&net.tx, (uint16_t)buffer);
}

static bool send_numbered(void)
{
	int buffer = free_buffer();
	struct ethernet *e;

	if (buffer < 0 || !numbered_due(&net.numbered))
		return false;
	e = (struct ethernet *)(net.tx_buffer + buffer * BUFFER_BYTES + net.head_bytes);
	memset(e->to, 0xff, sizeof(e->to));
	memcpy(e->from, net.mac, sizeof(e->from));
	e->type = __builtin_bswap16(NET_TYPE);
	numbered_make(&net.numbered, (struct numbered *)(e + 1));
	transmit(buffer, sizeof(*e) + sizeof(struct numbered));
	return true;
}

static void receive(uint8_t *packet, uint32_t bytes)
{
	struct ethernet *e = (struct ethernet *)packet;
	int buffer;
	uint32_t reply;

	if (bytes < sizeof(*e))
		return;
	if (e->type == __builtin_bswap16(NET_TYPE) &&
	    bytes >= sizeof(*e) + sizeof(struct numbered)) {
		numbered_take(&net.numbered, (const struct numbered *)(e + 1));
		return;
	}
	buffer = free_buffer();
	if (!net.w->args.net_ip || buffer < 0)
		return;
	reply = netstack_answer(packet, bytes, net.mac, (uint32_t)net.w->args.net_ip,
				net.tx_buffer + buffer * BUFFER_BYTES + net.head_bytes,
				BUFFER_BYTES - net.head_bytes);
	if (!reply)
		return;
	net.out->answered++;
	transmit(buffer, reply);
}

static bool receive_next(void)
{
	uint16_t head;
	uint32_t length;

	if (!virtq_take(&net.rx, &head, &length))
		return false;
	if (length > net.head_bytes)
		receive(net.rx_buffer + head % RX_BUFFERS * BUFFER_BYTES + net.head_bytes,
			length - net.head_bytes);
	virtq_offer(&net.rx, head % RX_BUFFERS);
	return true;
}

static bool reclaim(void)
{
	uint16_t head;
	uint32_t length;

	if (!virtq_take(&net.tx, &head, &length))
		return false;
	net.tx_busy[head % TX_BUFFERS] = false;
	return true;
}

static void offer_buffers(void)
{
	for (uint16_t i = 0; i < RX_BUFFERS && i < net.rx.size; i++) {
		uint8_t *at = net.rx_buffer + i * BUFFER_BYTES;

		net.rx.desc[i] = (struct virtq_desc){(uintptr_t)at, BUFFER_BYTES, DESC_WRITE, 0};
		virtq_offer(&net.rx, i);
	}
}

void net_start(struct witness *w, struct vdev *d, struct pulse_device *out)
{
	uint32_t features;

	out->kind = 2;
	out->state = 2;
	if (!virtio_begin(d, FEATURE_MAC, &features) || !virtq_open(d, 0, &net.rx) ||
	    !virtq_open(d, 1, &net.tx))
		return;
	if (net.tx.size < TX_BUFFERS)
		return;
	for (int i = 0; i < 6; i++) {
		net.mac[i] = features & FEATURE_MAC ? d->config[i] : (uint8_t)(i ? i : 0x52);
		out->id |= (uint64_t)net.mac[i] << 8 * (5 - i);
	}
	net.head_bytes = d->legacy ? 10 : 12;
	net.rx_buffer = early_pages(RX_BUFFERS * BUFFER_BYTES / PAGE_BYTES);
	net.tx_buffer = early_pages(TX_BUFFERS * BUFFER_BYTES / PAGE_BYTES);
	numbered_start(&net.numbered, w, out,
		       early_pages(NUMBERED_WINDOW * sizeof(struct numbered_sent) / PAGE_BYTES));
	virtio_ready(d);
	out->state = 1;
	net.w = w;
	net.out = out;
	offer_buffers();
}

bool net_step(void)
{
	bool done;

	if (!net.out)
		return false;
	done = reclaim();
	done |= receive_next();
	done |= send_numbered();
	return numbered_give_up(&net.numbered) || done;
}
