#include "script/contract.h"

#include "base/mem.h"

void tg_contract_fini(struct tg_dest *pub)
{
    for (char **h = pub->hosts; h && *h; h++)
        tg_free(*h);
    for (size_t i = 0; i < pub->n_rates; i++) {
        tg_free(pub->rates[i].name);
        tg_free(pub->rates[i].account_key);
    }
    for (size_t i = 0; i < pub->n_batches; i++)
        tg_free(pub->batches[i].name);
    tg_free(pub->hosts);
    tg_free(pub->rates);
    tg_free(pub->batches);
    tg_free(pub->name);
    tg_free(pub->script);
    tg_free(pub->integration);
}
