#include "sim.h"
bool sim_strict_signatures;
const char sim_control_help[]="help\n";
void sim_signature(sim_buf_t*b,sim_str_t w){(void)w;sim_putl(b,"U0lN");}
bool sim_plan_media(sim_plan_t *p,const sj_doc_t*d,sim_str_t t){(void)p;(void)d;(void)t;return false;}
bool sim_plan_tools(sim_plan_t *p,const sj_doc_t*d,const sim_prompt_t*q,sim_str_t t){(void)p;(void)d;(void)q;(void)t;return false;}
bool sim_check_fields(sim_conn_t*c,const sj_doc_t*d,sim_route_t r){(void)c;(void)d;(void)r;return true;}
bool sim_check_rules(sim_conn_t*c,const sj_doc_t*d,uint32_t r){(void)c;(void)d;(void)r;return true;}
void sim_quota_clear(void){}
bool sim_quota_install(struct json_t*b,sim_buf_t*e){(void)b;(void)e;return true;}
void sim_quota_list(sim_buf_t*o){(void)o;}
bool sim_quota_pass(sim_conn_t*c,long t){(void)c;(void)t;return true;}
void sim_embed(sim_conn_t*c,bool b){(void)b;sim_error_unknown_page(c);}
void sim_openai_chat(sim_conn_t*c){sim_error_unknown_page(c);}
void sim_openai_models(sim_conn_t*c){sim_error_unknown_page(c);}
void sim_openai_embed(sim_conn_t*c){sim_error_unknown_page(c);}
void sim_openai_images(sim_conn_t*c){sim_error_unknown_page(c);}
bool sim_openai_step(const sim_plan_t*p,long s,sim_buf_t*o){(void)p;(void)s;(void)o;return false;}
