/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Numbered packets of an Ethernet type of their own go out as broadcasts; a peer that sends each
 * back (to any address) lets the witness count what was lost, came twice or out of order. A window
 * of the newest numbers remembers when each was sent and whether it came back; a number that leaves
 * the window, or is older than a second, unanswered, is lost. Beside that, ARP and ICMP echo
 * requests for the address given by ip= are answered (netstack.c), so that ping works.
 */
#include "net.h"
#include "insn.h"
#include "virtio.h"

#define FEATURE_MAC  (1u << 5)
#define RX_BUFFERS   64
#define TX_BUFFERS   64
#define BUFFER_BYTES 2048
#define TIMEOUT_NS   1000000000ull

/** struct numbered - A numbered packet, behind the Ethernet header */
struct numbered {
	uint64_t life;
	uint64_t number;
	uint64_t check;
	uint8_t fill[40];
} __attribute__((packed));

/** struct sent - What is known of one number */
struct sent {
	uint64_t number; /* from 1 */
	uint64_t at;     /* TSC; 0: answered or given up */
};

static struct {
	struct witness *w;
	struct pulse_device *out;
	struct virtq rx, tx;
	uint8_t *rx_buffer, *tx_buffer;
	bool tx_busy[TX_BUFFERS];
	unsigned int head_bytes; /* virtio-net header: shorter for legacy devices */
	uint8_t mac[6];
	uint64_t next, highest, oldest, waiting;
	struct pace pace;
	struct sent *window; /* NET_WINDOW of them */
} net;

static void account_lost(struct sent *s)
{
	if (!s->at)
		return;
	s->at = 0;
	net.waiting--;
	net.out->lost++;
}

/* Gives numbers up that were not answered in time, oldest first. */
static bool give_up(void)
{
	struct sent *s = &net.window[net.oldest % NET_WINDOW];

	if (net.oldest == net.next)
		return false;
	if (s->at && clock_ns(&net.w->clock, tsc() - s->at) < TIMEOUT_NS)
		return false;
	account_lost(s);
	net.oldest++;
	return true;
}

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
	uint64_t ignored = 0, number = net.next;
	struct sent *s = &net.window[number % NET_WINDOW];
	int buffer = free_buffer();
	struct ethernet *e;
	struct numbered *p;

	if (!net.w->args.net || buffer < 0 || net.waiting >= net.w->args.net ||
	    !pace_due(&net.pace, &net.w->clock, &ignored))
		return false;
	e = (struct ethernet *)(net.tx_buffer + buffer * BUFFER_BYTES + net.head_bytes);
	p = (struct numbered *)(e + 1);
	memset(e->to, 0xff, sizeof(e->to));
	memcpy(e->from, net.mac, sizeof(e->from));
	e->type = __builtin_bswap16(NET_TYPE);
	p->life = net.w->report->life;
	p->number = number;
	p->check = mix64(p->life, number);
	memset(p->fill, (int)number, sizeof(p->fill));
	account_lost(s);
	*s = (struct sent){.number = number, .at = tsc()};
	net.next++;
	net.waiting++;
	net.out->out++;
	transmit(buffer, sizeof(*e) + sizeof(*p));
	return true;
}

static bool fill_good(const struct numbered *p)
{
	for (unsigned int i = 0; i < sizeof(p->fill); i++)
		if (p->fill[i] != (uint8_t)p->number)
			return false;
	return true;
}

static void receive_numbered(const struct numbered *p)
{
	struct sent *s = &net.window[p->number % NET_WINDOW];
	uint64_t ns;

	if (p->life != net.w->report->life)
		return; /* not ours: another witness, or an earlier life */
	if (p->check != mix64(p->life, p->number) || !fill_good(p)) {
		if (!net.out->bad++)
			net.out->first_bad = p->number;
		return;
	}
	net.out->in++;
	if (s->number != p->number || !s->at) {
		net.out->duplicated++; /* or later than the timeout */
		return;
	}
	ns = clock_ns(&net.w->clock, tsc() - s->at);
	if (ns > net.out->longest_ns)
		net.out->longest_ns = ns;
	s->at = 0;
	net.waiting--;
	if (p->number < net.highest)
		net.out->reordered++;
	else
		net.highest = p->number;
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
		receive_numbered((const struct numbered *)(e + 1));
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
	net.window = early_pages(NET_WINDOW * sizeof(*net.window) / PAGE_BYTES);
	virtio_ready(d);
	net.next = net.oldest = 1;
	pace_set(&net.pace, &w->clock, w->args.net_rate);
	out->depth = (uint32_t)w->args.net;
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
	return give_up() || done;
}
