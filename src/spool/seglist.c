#include "spool/seglist.h"

#include "base/mem.h"

enum { PLACE_STEP = 256 << 10 };

struct tg_seg *tg_seg_new(uint64_t first_seq)
{
    struct tg_seg *seg = tg_calloc(1, sizeof *seg);
    if (!seg)
        return NULL;
    seg->first_seq = seg->next_seq = first_seq;
    seg->end = seg->disk = TG_SEGMENT_HEADER;
    seg->fd = -1;
    return seg;
}

void tg_seg_free(struct tg_seg *seg)
{
    if (!seg)
        return;
    tg_free(seg->places);
    tg_free(seg->damage);
    tg_free(seg);
}

void tg_seglist_add(struct tg_seglist *l, struct tg_seg *seg)
{
    seg->next = NULL;
    if (l->last)
        l->last->next = seg;
    else
        l->first = seg;
    l->last = seg;
    l->n++;
    l->disk += seg->disk;
}

struct tg_seg *tg_seglist_take_first(struct tg_seglist *l)
{
    struct tg_seg *seg = l->first;
    if (!seg)
        return NULL;
    l->first = seg->next;
    if (!l->first)
        l->last = NULL;
    l->n--;
    l->disk -= seg->disk;
    return seg;
}

void tg_seglist_free(struct tg_seglist *l)
{
    struct tg_seg *seg;
    while ((seg = tg_seglist_take_first(l)) != NULL)
        tg_seg_free(seg);
}

/* Room for one more in an array that doubles whenever its length reaches a power of two. */
static bool room_for_one(void **array, size_t n, size_t size)
{
    if (n & (n - 1))
        return true;
    void *grown = tg_realloc(*array, (n ? 2 * n : 1) * size);
    if (grown)
        *array = grown;
    return grown != NULL;
}

void tg_seg_note_place(struct tg_seg *seg, uint64_t seq, uint64_t offset)
{
    uint64_t last = seg->n_places ? seg->places[seg->n_places - 1].offset : TG_SEGMENT_HEADER;
    if (offset < last + PLACE_STEP)
        return;
    void *places = seg->places;
    if (!room_for_one(&places, seg->n_places, sizeof *seg->places))
        return;
    seg->places = places;
    seg->places[seg->n_places++] = (struct tg_place){seq, offset};
}

struct tg_place tg_seg_place(const struct tg_seg *seg, uint64_t seq)
{
    size_t low = 0, high = seg->n_places; /* places below `low` are at or before seq */
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (seg->places[mid].seq <= seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low ? seg->places[low - 1] : (struct tg_place){seg->first_seq, TG_SEGMENT_HEADER};
}

bool tg_seg_note_damage(struct tg_seg *seg, uint64_t offset)
{
    for (size_t i = 0; i < seg->n_damage; i++)
        if (seg->damage[i] == offset)
            return false;
    void *damage = seg->damage;
    if (!room_for_one(&damage, seg->n_damage, sizeof *seg->damage))
        return true;
    seg->damage = damage;
    seg->damage[seg->n_damage++] = offset;
    return true;
}

struct tg_seg *tg_seglist_find(const struct tg_seglist *l, uint64_t seq)
{
    struct tg_seg *seg = l->first;
    while (seg && seg->next_seq <= seq && seg->next)
        seg = seg->next;
    return seg;
}
